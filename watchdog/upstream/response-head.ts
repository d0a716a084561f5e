import { BuskerError } from "../../schemas/errors.ts";
import {
  connectionTokens,
  isHopHeader,
  specialName,
  tokenPattern,
  valuePattern,
  withoutHeaders,
} from "./http-syntax.ts";

/** How a response's body ends. */
export type BodyFraming =
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until close" };

/** What the head of a response says. */
export interface ParsedHead {
  readonly status: number;
  /** Names and values in turn, without hop-by-hop headers; `Content-Length` only where there is no body to count. */
  readonly headers: readonly string[];
  readonly framing: BodyFraming;
  /** Whether the connection can carry another request afterwards. */
  readonly keepAlive: boolean;
  /** The protocol it switches to, with status 101, in lower case. */
  readonly upgrade?: string;
  /** Seconds the server says it keeps an idle connection, when it says so. */
  readonly keepAliveSeconds?: number;
}

/** The error for an answer that is not HTTP. */
export const malformed = (what: string): BuskerError =>
  new BuskerError("function_unreachable", `the function gave a malformed HTTP response: ${what}`);

/** What is gathered while the header lines are read. */
interface Draft {
  readonly headers: string[];
  lengthText: string | undefined;
  transferEncoding: string | undefined;
  connection: string;
  keepAlive: string;
  upgrade: string;
}

const readLine = (line: string, draft: Draft): void => {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(colon, 0));
  const value = line.slice(colon + 1).trim();
  if (!tokenPattern.test(name) || !valuePattern.test(value))
    throw malformed(`header line ${JSON.stringify(line.slice(0, 100))}`);
  const special = specialName(name);
  if (special === "content-length") {
    if (draft.lengthText !== undefined && draft.lengthText !== value) throw malformed("two different Content-Lengths");
    draft.lengthText = value;
  } else if (special !== "" && isHopHeader(special)) readHopHeader(special, value, draft);
  else draft.headers.push(name, value);
};

const readHopHeader = (name: string, value: string, draft: Draft): void => {
  if (name === "transfer-encoding") {
    if (draft.transferEncoding !== undefined) throw malformed("two Transfer-Encodings");
    draft.transferEncoding = value.toLowerCase();
  } else if (name === "connection") draft.connection += `,${value}`;
  else if (name === "keep-alive") draft.keepAlive = value;
  else if (name === "upgrade") draft.upgrade = value.toLowerCase();
};

const framingOf = (draft: Draft): BodyFraming => {
  const { lengthText, transferEncoding } = draft;
  if (transferEncoding !== undefined) {
    if (transferEncoding !== "chunked") throw malformed(`Transfer-Encoding ${JSON.stringify(transferEncoding)}`);
    // Both at once is how one message is smuggled inside another (RFC 9112 section 6.3).
    if (lengthText !== undefined) throw malformed("both Content-Length and Transfer-Encoding");
    return { kind: "chunked" };
  }
  if (lengthText === undefined) return { kind: "until close" };
  if (!/^\d{1,15}$/.test(lengthText)) throw malformed(`Content-Length ${JSON.stringify(lengthText.slice(0, 40))}`);
  return { kind: "length", bytes: Number(lengthText) };
};

const readStatus = (line: string): { status: number; minor: string } => {
  const match = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/.exec(line);
  if (!match) throw malformed(`status line ${JSON.stringify(line.slice(0, 100))}`);
  return { status: Number(match[2]), minor: match[1] ?? "1" };
};

/** Answers that have no body whatever their headers say (RFC 9112 section 6.3). */
const hasNoBody = (status: number, isHead: boolean): boolean =>
  isHead || status === 204 || status === 304 || status < 200;

/** Reads the head of a response, the text before the empty line. Throws `function_unreachable` when it is malformed. */
export const parseResponseHead = (text: string, isHead: boolean): ParsedHead => {
  const lines = text.split("\r\n");
  const { status, minor } = readStatus(lines[0] ?? "");
  const draft: Draft = {
    headers: [],
    lengthText: undefined,
    transferEncoding: undefined,
    connection: "",
    keepAlive: "",
    upgrade: "",
  };
  for (let index = 1; index < lines.length; index++) readLine(lines[index] ?? "", draft);
  const framing = framingOf(draft);
  const bodyless = hasNoBody(status, isHead);
  const tokens = draft.connection === "" ? undefined : new Set(connectionTokens(draft.connection));
  const headers = tokens ? withoutHeaders(draft.headers, tokens) : draft.headers;
  if (bodyless && draft.lengthText !== undefined && status !== 204) headers.push("Content-Length", draft.lengthText);
  // Such an answer has no body, and a server that announces one may well send it: what follows cannot be trusted.
  const isSound = status !== 204 || (draft.transferEncoding === undefined && Number(draft.lengthText ?? 0) === 0);
  const seconds = /(?:^|[\s,;])timeout=(\d{1,6})/i.exec(draft.keepAlive)?.[1];
  return {
    status,
    headers,
    framing: bodyless ? { kind: "length", bytes: 0 } : framing,
    keepAlive: isSound && (minor === "1" ? !tokens?.has("close") : tokens?.has("keep-alive")) === true,
    ...(status === 101 ? { upgrade: draft.upgrade } : {}),
    ...(seconds === undefined ? {} : { keepAliveSeconds: Number(seconds) }),
  };
};
