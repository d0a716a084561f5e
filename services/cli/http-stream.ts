import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { pipeline } from "node:stream/promises";

/** A body of known length, or one that is sent as it comes. */
export type StreamBody = Buffer | AsyncIterable<Buffer>;

/** A request whose answer may take any time and any length. */
export interface StreamRequest {
  readonly url: URL;
  readonly method: string;
  /** Names and values; a name may come again. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: StreamBody;
}

const setHeaders = (request: ClientRequest, headers: StreamRequest["headers"]): void => {
  const seen = new Set<string>();
  for (const [name, value] of headers) {
    const again = seen.has(name.toLowerCase());
    if (again) request.appendHeader(name, value);
    else request.setHeader(name, value);
    seen.add(name.toLowerCase());
  }
};

/**
 * Sends a request and resolves with the head of its answer; rejects when nobody answers. By node:http and not fetch,
 * because fetch gives up after five minutes without a byte, and refuses a GET that has a body.
 */
export const openStream = ({ url, method, headers, body }: StreamRequest): Promise<IncomingMessage> =>
  new Promise((done, failed) => {
    const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, { method }, done);
    request.on("error", failed);
    setHeaders(request, headers);
    if (body === undefined || Buffer.isBuffer(body)) request.end(body);
    else pipeline(body, request).catch(failed);
  });
