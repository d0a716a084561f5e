import type { WatchdogConfig } from "./config.ts";
import type { ModeContext } from "./mode.ts";
import type { FunctionPlace } from "./resolve-command.ts";

/** All a mode is made of: its settings, where the function runs, and whom it tells what happens. */
export interface ModeParts extends FunctionPlace {
  readonly config: WatchdogConfig;
  readonly context: ModeContext;
}
