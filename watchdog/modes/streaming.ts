import type { Mode } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { createForkMode } from "./fork.ts";

/** The content type of a fork mode's answer when nothing says another. */
export const defaultContentType = "application/octet-stream";

/**
 * A process for every call, body in and output out as they come, in the one content type of the function (of-watchdog's
 * default mode). An answer whose process has ended in time goes whole, and only then a failure can still be told by status.
 */
export const createStreamingMode = (parts: ModeParts): Mode =>
  createForkMode(parts, { contentTypeOf: () => parts.config.contentType ?? defaultContentType, streams: true });
