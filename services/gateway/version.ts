import { release } from "../runtime/release.ts";

/** The header `X-Served-By` of every answer. */
export const servedBy = `busker/${release}`;
