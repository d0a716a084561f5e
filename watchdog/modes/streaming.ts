import type { Mode } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { createForkMode } from "./fork.ts";

/** The content type of a fork mode's answer when nothing says another. */
export const defaultContentType = "application/octet-stream";

/** A process for every call, body in, output out, in the one content type of the function (of-watchdog's default mode). */
export const createStreamingMode = (parts: ModeParts): Mode =>
  createForkMode(parts, () => parts.config.contentType ?? defaultContentType);
