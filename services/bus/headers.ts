import type { MsgHdrs } from "nats";

const preamble = "NATS/1.0\r\n";

/**
 * NATS headers written as text once, instead of a map that is encoded name by name: the hot path sends two blocks a
 * call. The client library asks nothing of an outgoing header object but `encode()`.
 */
export class HeaderBlock {
  readonly #bytes: Uint8Array;

  private constructor(lines: string) {
    this.#bytes = Buffer.from(`${preamble}${lines}\r\n`, "utf8");
  }

  /** A block of `Name: value` lines, each ended by CRLF. Values must hold no CR or LF: see `headerLine`. */
  static of(lines: string): MsgHdrs {
    return new HeaderBlock(lines) as unknown as MsgHdrs;
  }

  encode(): Uint8Array {
    return this.#bytes;
  }
}

/** Bytes of a block made here. */
export const headerBytes = (block: MsgHdrs): number => (block as unknown as HeaderBlock).encode().length;

/** One line of a header block; line breaks in the value become spaces, so that a value cannot add headers. */
export const headerLine = (name: string, value: string): string =>
  `${name}: ${/[\r\n]/.test(value) ? value.replaceAll(/[\r\n]+/g, " ") : value}\r\n`;

/** What this module reads of the library's message: the raw header bytes, which it offers only as a parsed map. */
interface RawMessage {
  readonly _msg?: { readonly hdr: number };
  readonly _rdata?: Uint8Array;
  /** Of a message of JetStream: that of core NATS. */
  readonly msg?: RawMessage;
}

/** A message as far as its headers go: of core NATS or of JetStream. */
export interface HeaderBearer {
  readonly headers?: MsgHdrs | undefined;
}

/** The header block of a message as text, `NATS/1.0 …` line included; empty when it has none. */
export const headerText = (message: HeaderBearer): string => {
  const raw = message as unknown as RawMessage;
  const { _msg: head, _rdata: bytes } = raw.msg ?? raw;
  if (head === undefined || bytes === undefined) return textOfParsed(message);
  if (head.hdr <= 0) return "";
  return Buffer.from(bytes.buffer, bytes.byteOffset, head.hdr).toString("utf8");
};

const textOfParsed = (message: HeaderBearer): string => {
  if (!message.headers) return "";
  const status = message.headers.code ? ` ${message.headers.code} ${message.headers.description}` : "";
  let text = `NATS/1.0${status}\r\n`;
  for (const [name, values] of message.headers) for (const value of values) text += `${name}: ${value}\r\n`;
  return `${text}\r\n`;
};

/** The first value of a header in a block of text; the name is matched as written. */
export const headerValue = (text: string, name: string): string | undefined => {
  const at = text.indexOf(`\r\n${name}:`);
  if (at < 0) return undefined;
  const from = at + name.length + 3;
  const to = text.indexOf("\r\n", from);
  return text.slice(from, to < 0 ? undefined : to).trim();
};

/** Every header of a block: names and values in turn, as written. */
export const headerPairs = (text: string): string[] => {
  const pairs: string[] = [];
  for (const line of text.split("\r\n").slice(1)) {
    const colon = line.indexOf(":");
    if (colon > 0) pairs.push(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return pairs;
};

/** The status the server put into a block (`503` no responders, `404`, `408` …); 0 when none. */
export const headerStatus = (text: string): number =>
  text.startsWith("NATS/1.0 ") ? Number.parseInt(text.slice(9, 12), 10) || 0 : 0;
