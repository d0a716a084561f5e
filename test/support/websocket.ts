import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

/** One frame as it came (RFC 6455 §5.2). */
export interface WebSocketFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** What a client sent and met: an ordinary answer's body, or a WebSocket. */
export interface TestWebSocket {
  readonly socket: Socket;
  readonly status: number;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  /** Sends one frame, masked; false when the connection takes no more for now. */
  readonly send: (opcode: number, payload: Uint8Array | string, isFinal?: boolean) => boolean;
  /** The next frame; rejects when the connection is closed before there is one. */
  readonly next: () => Promise<WebSocketFrame>;
  /** Resolves when the connection has closed, with the bytes after the head that are no frames. */
  readonly closed: Promise<Buffer>;
}

/** Opcodes. */
export const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const maskedFrame = (opcode: number, payload: Buffer, isFinal: boolean): Buffer => {
  const { length } = payload;
  const size = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(size + 4 + length);
  frame[0] = (isFinal ? 0x80 : 0) | opcode;
  frame[1] = 0x80 | (size === 2 ? length : size === 4 ? 126 : 127);
  if (size === 4) frame.writeUInt16BE(length, 2);
  if (size === 10) frame.writeBigUInt64BE(BigInt(length), 2);
  const key = randomBytes(4);
  key.copy(frame, size);
  for (let at = 0; at < length; at += 1) frame[size + 4 + at] = (payload[at] ?? 0) ^ (key[at & 3] ?? 0);
  return frame;
};

/** Takes one whole frame off the front; undefined while it is not all there. */
const readFrame = (bytes: Buffer): { readonly frame: WebSocketFrame; readonly rest: Buffer } | undefined => {
  const [first = 0, short = 0] = bytes;
  const from = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < from) return undefined;
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < from + length) return undefined;
  const payload = bytes.subarray(from, from + length);
  return { frame: { opcode: first & 15, payload }, rest: bytes.subarray(from + length) };
};

/** Joins chunks only when enough has come, so that a large frame in many chunks is not copied for each. */
const createFrameReader = (onFrame: (frame: WebSocketFrame) => void) => {
  let held = Buffer.alloc(0);
  return {
    feed: (chunk: Buffer): void => {
      held = Buffer.concat([held, chunk]);
      for (let read = readFrame(held); read; read = readFrame(held)) {
        held = read.rest as Buffer<ArrayBuffer>;
        onFrame(read.frame);
      }
    },
    left: (): Buffer => held,
  };
};

const parseHead = (text: string): { readonly status: number; readonly headers: Map<string, string> } => {
  const [first = "", ...lines] = text.split("\r\n");
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status: Number(first.split(" ")[1]), headers: new Map(headers) };
};

const acceptOf = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/** What a client asks with; `early` goes out in one piece with the head. */
export interface WebSocketRequest {
  readonly url: string;
  readonly headers?: readonly string[];
  readonly early?: { readonly opcode: number; readonly payload: string };
}

const requestHead = (path: string, host: string, key: string, more: readonly string[] = []): string =>
  [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
    ...more,
    "\r\n",
  ].join("\r\n");

/** Frames in the order they came, for whoever asks for the next. */
const createFrameQueue = () => {
  const frames: WebSocketFrame[] = [];
  const waiting: { readonly resolve: (frame: WebSocketFrame) => void; readonly reject: (error: Error) => void }[] = [];
  let isClosed = false;
  const gone = (): Error => new Error("the connection was closed before another frame");
  return {
    push: (frame: WebSocketFrame): void => {
      const next = waiting.shift();
      if (next) next.resolve(frame);
      else frames.push(frame);
    },
    close: (): void => {
      isClosed = true;
      for (const { reject } of waiting.splice(0)) reject(gone());
    },
    next: (): Promise<WebSocketFrame> => {
      const frame = frames.shift();
      if (frame) return Promise.resolve(frame);
      if (isClosed) return Promise.reject(gone());
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
  };
};

/** Asks for a WebSocket, by hand because Node 20 has no client; resolves at the head of the answer. */
export const openWebSocket = ({ url, headers, early }: WebSocketRequest): Promise<TestWebSocket> =>
  new Promise((resolve, reject) => {
    const { hostname, port, host, pathname, search } = new URL(url);
    const key = randomBytes(16).toString("base64");
    const socket = connect(Number(port), hostname);
    const queue = createFrameQueue();
    const reader = createFrameReader(queue.push);
    let held = Buffer.alloc(0);
    const body: Buffer[] = [];
    let answer: TestWebSocket | undefined;
    const closed = new Promise<Buffer>((done) => {
      socket.once("close", () => {
        queue.close();
        reject(new Error("the connection was closed before an answer"));
        done(answer?.status === 101 ? reader.left() : Buffer.concat(body));
      });
    });
    const take = (chunk: Buffer): void => {
      if (answer?.status === 101) reader.feed(chunk);
      else body.push(chunk);
    };
    const onHead = (text: string): void => {
      const head = parseHead(text);
      if (head.status === 101 && head.headers.get("sec-websocket-accept") !== acceptOf(key))
        return reject(new Error(`the answer does not accept this key: ${text}`));
      const send: TestWebSocket["send"] = (opcode, payload, isFinal = true) =>
        socket.write(maskedFrame(opcode, Buffer.from(payload), isFinal));
      answer = { ...head, socket, closed, next: queue.next, send };
      resolve(answer);
    };
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      if (answer) return take(chunk);
      held = Buffer.concat([held, chunk]);
      const end = held.indexOf("\r\n\r\n");
      if (end < 0) return;
      onHead(held.toString("latin1", 0, end));
      if (end + 4 < held.length) take(held.subarray(end + 4));
    });
    const first = early ? maskedFrame(early.opcode, Buffer.from(early.payload), true) : Buffer.alloc(0);
    socket.write(Buffer.concat([Buffer.from(requestHead(pathname + search, host, key, headers)), first]));
  });
