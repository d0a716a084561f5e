import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { HeaderList } from "./callback-headers.ts";
import type { Destination } from "./check-destination.ts";
import { pinnedLookup } from "./pinned-lookup.ts";
import type { ResponseBody } from "./response-body.ts";

/** One POST. */
export interface CallbackPost {
  readonly destination: Destination;
  readonly headers: HeaderList;
  readonly body: ResponseBody;
  /** Ends it: the time is over, or this process stops. */
  readonly signal: AbortSignal;
}

/** What a receiver answered. */
export interface CallbackAnswer {
  readonly status: number;
  readonly location: string | undefined;
  readonly retryAfter: string | undefined;
}

// What a receiver has to say beyond its status is read for so long, so that it can finish its answer; nobody looks at it.
const lingerMs = 1000;
const lingerBytes = 64 * 1024;

/** As Node takes headers: one of each name in whatever case, repeated ones in a list. */
const groupHeaders = (headers: HeaderList): Record<string, string[]> => {
  const groups = new Map<string, { readonly name: string; readonly values: string[] }>();
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? "";
    const group = groups.get(name.toLowerCase()) ?? { name, values: [] };
    group.values.push(headers[at + 1] ?? "");
    groups.set(name.toLowerCase(), group);
  }
  return Object.fromEntries([...groups.values()].map(({ name, values }) => [name, values]));
};

const letGo = (answer: IncomingMessage): void => {
  let bytes = 0;
  const timer = setTimeout(() => answer.destroy(), lingerMs);
  answer.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > lingerBytes) answer.destroy();
  });
  answer.on("close", () => clearTimeout(timer));
  // Its status is known, and nothing more is wanted.
  answer.on("error", () => undefined);
};

/**
 * Posts a body to a checked destination, on a connection of its own to the addresses that were checked: `Host` and the name in
 * the TLS handshake are the URL's. Nothing is followed, no proxy is asked. Resolves with the receiver's answer whatever its
 * status; rejects when there is none, and when the body cannot be read.
 */
export const postCallback = ({ destination, headers, body, signal }: CallbackPost): Promise<CallbackAnswer> =>
  new Promise((resolve, reject) => {
    const { url, addresses } = destination;
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const request = send(url, {
      method: "POST",
      headers: { ...groupHeaders(headers), "Content-Length": body.bytes },
      lookup: pinnedLookup(addresses),
      agent: false,
      signal,
    });
    request.on("response", (answer) => {
      const { statusCode: status = 0, headers: answered } = answer;
      resolve({ status, location: answered.location, retryAfter: answered["retry-after"] });
      letGo(answer);
    });
    request.on("error", reject);
    request.on("close", () => reject(new Error("the connection was closed without an answer")));
    // One that has answered before it has read everything may close at once: its answer counts.
    pipeline(Readable.from(body.open(), { objectMode: false }), request).catch(reject);
  });
