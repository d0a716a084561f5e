/** A part of a file. */
export interface ByteRange {
  readonly start: number;
  readonly length: number;
}

/**
 * The part of a file of `size` bytes that a `Range` header asks for (RFC 9110 section 14.1.2); undefined: all of it,
 * because it asks for several parts, for something other than bytes, or cannot be read.
 */
export const parseRange = (text: string, size: number): ByteRange | "unsatisfiable" | undefined => {
  const [, first, last] = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(text) ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    const length = Math.min(Number(last), size);
    if (Number(last) === 0) return "unsatisfiable";
    return length === 0 ? undefined : { start: size - length, length };
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  if (start >= size) return "unsatisfiable";
  return { start, length: Math.min(last === "" ? size : Number(last) + 1, size) - start };
};
