import { isUtf8 } from "node:buffer";
import { BuskerError } from "../../schemas/errors.ts";
import { isAttributeName } from "./cloud-events-attributes.ts";

/*
 * The JSON format of CloudEvents 1.0 (cloudevents/spec, json-format.md v1.0.2): what the payload is in structured mode.
 */

/** An event as it travels: attributes as text, data as bytes. */
export interface WireEvent {
  /** Attribute names in lower case without prefix: `id`, `source`, `type`, `specversion`, `datacontenttype`, extensions. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly data: Uint8Array;
}

const jsonType = "application/json";

// `*/json` and `*/*+json`, whatever parameters follow (3.1.1); no type means JSON.
const isJsonType = (type: string | undefined): boolean =>
  type === undefined || /^\s*[^\s/;]+\/(?:[^\s/;]+\+)?json\s*(?:;|$)/i.test(type);

const isTextType = (type: string | undefined): boolean => type !== undefined && /^\s*text\//i.test(type);

const refuse = (rule: string, cause?: unknown): never => {
  throw new BuskerError("invalid_request", `a structured CloudEvent ${rule}`, cause === undefined ? {} : { cause });
};

const parseJson = (bytes: Uint8Array): { readonly value: unknown } | undefined => {
  if (!isUtf8(bytes)) return undefined;
  try {
    return { value: JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown };
  } catch {
    return undefined;
  }
};

/** The `data` or `data_base64` member of an event's JSON form: bytes that are not what their type says travel as base64. */
export const structuredData = (event: WireEvent): Record<string, unknown> => {
  if (event.data.length === 0) return {};
  const type = event.attributes["datacontenttype"];
  const bytes = Buffer.from(event.data);
  const json = isJsonType(type) ? parseJson(bytes) : undefined;
  if (json) return { data: json.value };
  return isTextType(type) && isUtf8(bytes)
    ? { data: bytes.toString("utf8") }
    : { data_base64: bytes.toString("base64") };
};

const readAttribute = (name: string, value: unknown): string => {
  if (!isAttributeName(name))
    return refuse(`names its attributes in a-z and 0-9; got ${JSON.stringify(name.slice(0, 80))}`);
  if (typeof value === "string") return value;
  if (typeof value === "boolean" || Number.isInteger(value)) return String(value);
  return refuse(
    `has strings, whole numbers and booleans as attributes; ${name} is ${JSON.stringify(value).slice(0, 80)}`,
  );
};

const readBase64 = (value: unknown): Uint8Array => {
  if (typeof value === "string" && /^[A-Za-z0-9+/]*={0,2}$/.test(value) && value.length % 4 === 0)
    return Buffer.from(value, "base64");
  return refuse("has base64 (RFC 4648, 4) as data_base64");
};

const readText = (value: unknown, type: string | undefined): Uint8Array => {
  if (typeof value === "string") return Buffer.from(value);
  return refuse(
    `has a string as data when its datacontenttype is not JSON; ${JSON.stringify(type)} came with ${JSON.stringify(value)?.slice(0, 80)}`,
  );
};

const checkVersion = (attributes: Readonly<Record<string, string>>): void => {
  const version = attributes["specversion"];
  if (version !== undefined && version !== "1.0") refuse(`must be of specversion 1.0; got ${JSON.stringify(version)}`);
};

const readMembers = (members: Readonly<Record<string, unknown>>): WireEvent => {
  const { data, data_base64: base64, ...others } = members;
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(others)) if (value !== null) attributes[name] = readAttribute(name, value);
  checkVersion(attributes);
  // `data: null` is JSON's null as data; as base64 it can only mean none.
  const hasBase64 = base64 !== undefined && base64 !== null;
  if (data !== undefined && hasBase64) return refuse("has data or data_base64, not both");
  if (hasBase64) return { attributes, data: readBase64(base64) };
  if (data === undefined) return { attributes, data: new Uint8Array() };
  const type = attributes["datacontenttype"];
  if (!isJsonType(type)) return { attributes, data: data === null ? new Uint8Array() : readText(data, type) };
  // What JSON implied must be said in any other form (3.1.2).
  return { attributes: { ...attributes, datacontenttype: type ?? jsonType }, data: Buffer.from(JSON.stringify(data)) };
};

/** Reads the JSON form of an event. Throws `invalid_request` with the rule it breaks when it is none. */
export const fromStructured = (payload: Uint8Array): WireEvent => {
  const parsed = parseJson(payload);
  if (!parsed) return refuse("must be JSON in UTF-8");
  const { value } = parsed;
  if (Array.isArray(value)) return refuse("is one event; NATS has no batches of them, so send one a message");
  if (typeof value !== "object" || value === null)
    return refuse(`must be a JSON object; got ${JSON.stringify(value).slice(0, 80)}`);
  return readMembers(value as Record<string, unknown>);
};
