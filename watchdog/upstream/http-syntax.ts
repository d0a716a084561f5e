/** A header's or method's name (RFC 9110 token). */
export const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** A header's value: no control characters, and nothing that Latin-1 would cut into one. */
export const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The target of a request: begins with `/`, no space, no control character. */
export const targetPattern = /^\/[\x21-\x7e\x80-\xff]*$/;

/** Headers of one connection that are never passed on (RFC 9110 section 7.6.1), and those that the sender computes. */
const hopHeaders: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The lengths of those names and of the few others that matter: most names are told apart without lower-casing. */
const longestSpecial = 17;

/** The lower-case name when it may be one with a meaning for the connection, else an empty string. */
export const specialName = (name: string): string => {
  const { length } = name;
  return length === 10 || length === 14 || length === 16 || length <= 7 || length === longestSpecial
    ? name.toLowerCase()
    : "";
};

/** Whether a header of this lower-case name ends at this hop. */
export const isHopHeader = (name: string): boolean => hopHeaders.has(name);

/** The header names that a `Connection` header declares as its own. */
export const connectionTokens = (value: string): readonly string[] =>
  value
    .toLowerCase()
    .split(",")
    .map((token) => token.trim())
    .filter(Boolean);

/** Headers without those of the given lower-case names. */
export const withoutHeaders = (headers: readonly string[], names: ReadonlySet<string>): string[] => {
  const kept: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    if (!names.has(name.toLowerCase())) kept.push(name, headers[index + 1] ?? "");
  }
  return kept;
};
