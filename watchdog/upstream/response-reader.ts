import { createBodyReader, type BodyReader } from "./body-reader.ts";
import { malformed, parseResponseHead, type ParsedHead } from "./response-head.ts";

/** A whole response; `body` is what was not taken before. */
export interface UpstreamResponse {
  readonly head: ParsedHead;
  readonly body: Buffer;
}

/** Largest head of a response in bytes, and of all interim responses before it. */
export const maxHeadBytes = 256 * 1024;

const headEnd = Buffer.from("\r\n\r\n");
const bareHeadEnd = Buffer.from("\n\n");

/** Reads one response from what a socket gives. Everything it throws is a BuskerError. */
export interface ResponseReader {
  /** Gives the response once it is whole. The chunk's memory may be used again afterwards. */
  feed(chunk: Buffer): UpstreamResponse | undefined;
  /** The other side has closed: the response that this completes, or an error that says what is missing. */
  close(): UpstreamResponse;
  /** The head, once it is there. */
  head(): ParsedHead | undefined;
  /** What has come of the body and was not taken before. */
  take(): Buffer;
}

// What follows the head of a switch is the other protocol's, until the connection ends.
const asSwitched = (head: ParsedHead): ParsedHead => ({ ...head, framing: { kind: "until close" }, keepAlive: false });

/**
 * A reader for the response to one request; with an infinite limit its body can be taken in pieces. Where an upgrade was
 * asked for, the bytes of the WebSocket are the body of a 101.
 */
export const createResponseReader = (isHead: boolean, maxBodyBytes: number, isUpgrade = false): ResponseReader => {
  let held: Buffer | undefined;
  let head: ParsedHead | undefined;
  let reader: BodyReader | undefined;
  let interimBytes = 0;

  /** Index after the head in `bytes`, or -1 while there is only a part of it. */
  const takeHead = (bytes: Buffer, from: number): number => {
    const end = bytes.indexOf(headEnd, from);
    if ((end < 0 ? bytes.length : end) - from + interimBytes > maxHeadBytes)
      throw malformed(`its head is larger than ${maxHeadBytes} bytes`);
    if (end < 0 && bytes.indexOf(bareHeadEnd, from) >= 0) throw malformed("its lines do not end in CR LF");
    if (end < 0) return -1;
    const parsed = parseResponseHead(bytes.toString("latin1", from, end), isHead);
    if (parsed.status === 101 && (!isUpgrade || parsed.upgrade !== "websocket"))
      throw malformed(`it switches to the protocol "${parsed.upgrade}" without having been asked`);
    if (parsed.status === 101) head = asSwitched(parsed);
    else if (parsed.status < 200) interimBytes += end - from;
    else head = parsed;
    return end + headEnd.length;
  };

  const takeHeads = (bytes: Buffer): number => {
    let from = 0;
    while (!head) {
      const end = takeHead(bytes, from);
      if (end < 0) {
        held = Buffer.from(bytes.subarray(from));
        return -1;
      }
      from = end;
    }
    reader = createBodyReader(head.framing, maxBodyBytes);
    return from;
  };

  const whole = (keepAlive: boolean): UpstreamResponse | undefined =>
    head && reader && { head: keepAlive ? head : { ...head, keepAlive }, body: reader.take() };

  return {
    feed(chunk) {
      const bytes = held ? Buffer.concat([held, chunk]) : chunk;
      held = undefined;
      const from = reader ? 0 : takeHeads(bytes);
      if (from < 0 || !reader) return undefined;
      const end = reader.feed(bytes, from);
      // Bytes after the end belong to no request: the connection cannot be trusted with another.
      return end < 0 ? undefined : whole(head?.keepAlive === true && end === bytes.length);
    },
    head: () => head,
    take: () => reader?.take() ?? Buffer.alloc(0),
    close() {
      reader?.close();
      const response = whole(false);
      if (!response) throw malformed(held?.length ? "its head was cut short" : "the connection was closed without one");
      return response;
    },
  };
};
