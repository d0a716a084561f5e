import type { Call, Mode } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { createForkMode } from "./fork.ts";
import { defaultContentType } from "./streaming.ts";

const requestContentType = ({ headers }: Call): string | undefined => {
  const at = headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === "content-type");
  return at < 0 ? undefined : headers[at + 1];
};

/**
 * A process for every call, whole body in, whole output out. Without `content_type` the answer has the type of the
 * request, as in the classic watchdog.
 */
export const createSerializingMode = (parts: ModeParts): Mode =>
  createForkMode(parts, {
    contentTypeOf: (call) => parts.config.contentType ?? requestContentType(call) ?? defaultContentType,
    streams: false,
  });
