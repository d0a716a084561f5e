import type { WatchdogConfig } from "./config.ts";
import type { Mode } from "./mode.ts";
import type { ModeParts } from "./mode-parts.ts";
import { createHandlerMode } from "./modes/handler.ts";
import { createHttpMode } from "./modes/http.ts";
import { createPoolMode } from "./modes/pool.ts";
import { createSerializingMode } from "./modes/serializing.ts";
import { createStaticMode } from "./modes/static.ts";
import { createStreamingMode } from "./modes/streaming.ts";

const factories = {
  streaming: createStreamingMode,
  serializing: createSerializingMode,
  http: createHttpMode,
  static: createStaticMode,
  handler: createHandlerMode,
  pool: createPoolMode,
} as const satisfies Record<WatchdogConfig["mode"], (parts: ModeParts) => Mode>;

/** The mode that the settings ask for, not started yet. */
export const createMode = (parts: ModeParts): Mode => factories[parts.config.mode](parts);
