import { BuskerError } from "../../schemas/errors.ts";

/** Tells whether CloudEvents allows an attribute of this name: lower-case letters and digits, and not `data`. */
export const isAttributeName = (name: string): boolean => /^[a-z0-9]+$/.test(name) && name !== "data";

const isPlain = /^[\x21\x23\x24\x26-\x7e]*$/;
const mustEscape = /[^\x21\x23\x24\x26-\x7e]/gu;

const escape = (character: string): string =>
  [...Buffer.from(character, "utf8")].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");

/**
 * Percent-encodes an attribute's value as a header (NATS binding 3.1.3.2): space, double quote, percent and everything
 * outside U+0021 to U+007E become the `%XX` of their UTF-8 bytes. Throws `invalid_request` on a lone surrogate.
 */
export const encodeAttribute = (value: string): string => {
  if (isPlain.test(value)) return value;
  if (!value.isWellFormed())
    throw new BuskerError(
      "invalid_request",
      "a CloudEvents attribute must be well-formed Unicode; got a lone surrogate",
    );
  return value.replace(mustEscape, escape);
};

// What senders wrote before version 1.0.1 of the binding (RFC 7230, 3.2.6).
const unquote = (value: string): string =>
  /^".*"$/s.test(value) ? value.slice(1, -1).replaceAll(/\\(.)/gs, "$1") : value;

/**
 * Reverses `encodeAttribute`; also takes what senders quoted or encoded without need. Throws `invalid_request` on bytes
 * that are not UTF-8, as the binding asks.
 */
export const decodeAttribute = (value: string): string => {
  const plain = value.startsWith('"') ? unquote(value) : value;
  if (!plain.includes("%")) return plain;
  try {
    return plain.replaceAll(/(?:%[0-9A-Fa-f]{2})+/g, decodeURIComponent);
  } catch (cause) {
    throw new BuskerError(
      "invalid_request",
      `a CloudEvents attribute must be percent-encoded UTF-8; got ${JSON.stringify(value)}`,
      { cause },
    );
  }
};
