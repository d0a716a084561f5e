import type { IncomingMessage, ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import { parseDurationMs } from "../../schemas/function.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import type { FoundRecord } from "../bus/call-records.ts";
import type { EndWatch } from "../bus/watch-ends.ts";
import { type ResponseBodies, sendCallResponse } from "./call-response.ts";
import { callIdHeader, viewCall } from "./call-view.ts";
import type { CancelCall } from "./cancel-call.ts";
import { onceGone } from "./once-gone.ts";
import { servedBy } from "./version.ts";

/** A request about a call, and its answer. */
export interface CallExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Answers requests about one durable call: its state, its response, its end. */
export interface CallHandler {
  /** Whether a request below a call's id, by its method and `/rest?query`, is one of them. */
  readonly takes: (method: string, rest: string) => boolean;
  /**
   * Answers one; the id as it stands in the URL. Rejects with what is to be answered when there is nothing to answer with:
   * `call_not_found`, `call_over`, `invalid_request`, `bus_unavailable`.
   */
  readonly answer: (
    exchange: CallExchange,
    id: string,
    rest: string,
    view?: (whole: WholeRecord) => object,
  ) => Promise<void>;
}

/** What answering takes. */
export interface CallParts {
  readonly ends: Pick<EndWatch, "wait">;
  readonly bodies: ResponseBodies;
  readonly cancel: CancelCall;
}

const maxWaitMs = 5 * 60_000;

const readWait = (query: URLSearchParams): number => {
  const text = query.get("wait");
  if (text === null || text === "") return 0;
  const waitMs = parseDurationMs(text);
  if (waitMs !== undefined && waitMs <= maxWaitMs) return waitMs;
  throw new BuskerError(
    "invalid_request",
    `wait must be whole seconds or a duration such as 30s, of 5m at most; got ${JSON.stringify(text.slice(0, 100))}`,
  );
};

const decodeId = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new BuskerError("invalid_request", `a call id must be URL-encoded; got ${JSON.stringify(text)}`, { cause });
  }
};

const splitRest = (rest: string): { readonly path: string; readonly query: URLSearchParams } => {
  const at = rest.indexOf("?");
  return at < 0
    ? { path: rest, query: new URLSearchParams() }
    : { path: rest.slice(0, at), query: new URLSearchParams(rest.slice(at + 1)) };
};

const sendView = ({ response }: CallExchange, found: FoundRecord, view: (whole: WholeRecord) => object): void => {
  const body = Buffer.from(`${JSON.stringify(view(found))}\n`);
  response.writeHead(200, {
    "Content-Type": "application/json",
    "Content-Length": String(body.length),
    "X-Call-Id": callIdHeader(found.record.id),
    "X-Served-By": servedBy,
    // It may be another one a moment later.
    "Cache-Control": "no-store",
  });
  response.end(body);
};

/** Creates the handler. */
export const createCallHandler = ({ ends, bodies, cancel }: CallParts): CallHandler => {
  const find = async ({ response }: CallExchange, id: string, waitMs: number): Promise<FoundRecord> => {
    const gone = new AbortController();
    onceGone(response, () => gone.abort());
    const found = await ends.wait(id, waitMs, gone.signal);
    if (found) return found;
    throw new BuskerError("call_not_found", `there is no function and no call ${id}, or its record has expired`);
  };
  return {
    takes: (method, rest) => {
      const { path } = splitRest(rest);
      if (method === "DELETE") return path === "/";
      return (method === "GET" || method === "HEAD") && (path === "/" || path === "/response");
    },
    answer: async (exchange, text, rest, view = viewCall) => {
      const { request, response } = exchange;
      const id = decodeId(text);
      const { path, query } = splitRest(rest);
      if (request.method === "DELETE") {
        await cancel(id);
        response
          .writeHead(202, { "X-Call-Id": callIdHeader(id), "X-Served-By": servedBy, "Content-Length": "0" })
          .end();
        return;
      }
      const found = await find(exchange, id, readWait(query));
      if (response.destroyed) return;
      if (path === "/response") await sendCallResponse(response, found, bodies);
      else sendView(exchange, found, view);
    },
  };
};
