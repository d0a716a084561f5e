import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { within } from "./collector.ts";

/** SHA-256 in hex. */
export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** What a request has besides its URL. */
export interface RequestMore {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | number>>;
}

/** Begins a request on a connection of its own, POST unless said otherwise. */
export const openRequest = (url: string, { method = "POST", headers = {} }: RequestMore = {}): ClientRequest =>
  // What breaks after the head is told by the response, too.
  httpRequest(url, { method, headers, agent: false }).on("error", () => {});

/** The head of the answer; rejects when the connection breaks before. */
export const responseTo = async (request: ClientRequest): Promise<IncomingMessage> => {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return response;
};

/** A GET, or another request without a body, up to the head of its answer. */
export const getResponse = (url: string, more: RequestMore = {}): Promise<IncomingMessage> => {
  const request = openRequest(url, { method: "GET", ...more });
  request.end();
  return responseTo(request);
};

/** Reads a body to its end without keeping it; gives its length. Rejects when it breaks off. */
export const readInto = async (response: IncomingMessage, hash: Hash = createHash("sha256")): Promise<number> => {
  let bytes = 0;
  for await (const chunk of response) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return bytes;
};

/** Reads a body to its end; rejects when it breaks off. */
export const readBody = async (response: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

/** How reading ends: "complete", or the code of an error. */
export const endOf = (response: IncomingMessage): Promise<string | undefined> =>
  readInto(response).then(
    () => "complete",
    (error: NodeJS.ErrnoException) => error.code,
  );

/** The next part of a body as text; the rest waits. */
export const nextChunk = async (response: IncomingMessage): Promise<string> => {
  const next = once(response, "data") as Promise<[Buffer]>;
  response.resume();
  const [chunk] = await next;
  response.pause();
  return chunk.toString();
};

/** One whole answer. */
export interface RawAnswer {
  readonly status: number;
  /** All of the head. */
  readonly head: string;
  readonly body: string;
}

/** A connection on which a test writes HTTP by hand. */
export interface RawConnection {
  readonly socket: Socket;
  /** All that has come and was not taken, Latin-1. */
  readonly text: () => string;
  /** Waits until what has come fits, and takes it up to the end of what fits. */
  readonly take: (pattern: RegExp, withinMs?: number) => Promise<string>;
  /** The next answer, read by its own framing; of HEAD, `hasBody` is false. */
  readonly answer: (hasBody?: boolean) => Promise<RawAnswer>;
  /** How it ended: "end" when the server has ended or closed it, else the code of the error. */
  readonly closed: Promise<string>;
}

/** Where a pattern's first match ends; -1 where there is none yet. */
const endOfMatch =
  (pattern: RegExp) =>
  (text: string): number => {
    const match = pattern.exec(text);
    return match ? match.index + match[0].length : -1;
  };

const endOfBytes =
  (bytes: number) =>
  (text: string): number =>
    text.length < bytes ? -1 : bytes;

type Take = (what: string, endIn: (text: string) => number, withinMs?: number) => Promise<string>;

const takeChunks = async (take: Take): Promise<string> => {
  const chunks: string[] = [];
  for (;;) {
    const size = Number.parseInt(await take("a chunk's size", endOfMatch(/^[0-9a-f]+\r\n/)), 16);
    const chunk = await take("a chunk", endOfBytes(size + 2));
    if (!chunk.endsWith("\r\n")) throw new Error(`a chunk of ${size} bytes is longer than that`);
    if (size === 0) return chunks.join("");
    chunks.push(chunk.slice(0, -2));
  }
};

const takeAnswer = async (take: Take, hasBody: boolean): Promise<RawAnswer> => {
  const head = await take("an answer's head", endOfMatch(/\r\n\r\n/));
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
  if (Number.isNaN(status)) throw new Error(`no answer begins with ${JSON.stringify(head.slice(0, 200))}`);
  const length = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1] ?? 0);
  if (!hasBody || status === 204 || status === 304 || status < 200) return { status, head, body: "" };
  const isChunked = /^transfer-encoding: chunked\r$/im.test(head);
  return { status, head, body: isChunked ? await takeChunks(take) : await take("a body", endOfBytes(length)) };
};

/** Opens one to the host and port of a URL; half of it may be closed. */
export const openRaw = async (url: string): Promise<RawConnection> => {
  const { hostname, port } = new URL(url);
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  let held = "";
  let look = (): void => {};
  let fault: string | undefined;
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    held += chunk;
    look();
  });
  socket.on("error", (error: NodeJS.ErrnoException) => (fault = error.code));
  const closed = new Promise<string>((done) => {
    socket.once("end", () => done("end"));
    socket.once("close", () => done(fault ?? "end"));
  });
  await once(socket, "connect");
  const take: Take = (what, endIn, withinMs = 5000) => {
    const met = new Promise<string>((done, fail) => {
      look = () => {
        const end = endIn(held);
        if (end < 0) return;
        look = () => {};
        const taken = held.slice(0, end);
        held = held.slice(end);
        done(taken);
      };
      look();
      void closed.then((how) =>
        fail(new Error(`${what}: the connection was closed (${how}) after ${JSON.stringify(held.slice(0, 500))}`)),
      );
    });
    return within(met, what, withinMs);
  };
  return {
    socket,
    text: () => held,
    take: (pattern, withinMs) => take(String(pattern), endOfMatch(pattern), withinMs),
    answer: (hasBody = true) => takeAnswer(take, hasBody),
    closed,
  };
};
