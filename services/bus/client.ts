import { randomUUID } from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import { maxWholeBytes } from "../../schemas/invocation.ts";
import { parseFunctionName } from "../../schemas/names.ts";
import { type BusOptions, openBus } from "./connection.ts";
import { type FunctionResponse, openResponse } from "./client-response.ts";
import type { CallResult } from "./open-call.ts";
import { type Invocation, type Invoker, openInvoker } from "./invoker.ts";
import { type BodyParts, writeParts } from "./write-parts.ts";

export { BuskerError, type ErrorCode } from "../../schemas/errors.ts";
export type { FunctionResponse } from "./client-response.ts";

/*
 * Calling functions from any program, over the bus: `const client = await connect({ url, credentialsFile })`,
 * `await client.invoke("hello", { body: "you" })`. The invoker below it is the one the gateway uses, so a call goes
 * straight to a replica with a free slot, waits in line when there is none, and streams both ways under credit.
 */

/** How to reach the platform: the server, and credentials such as `creds/invoke.creds` in the data folder. */
export interface ConnectOptions extends Pick<BusOptions, "url" | "credentialsFile"> {
  /** Name shown by the server's connection list and as the calls' CloudEvents source; `client` where absent. */
  readonly name?: string;
  /** Milliseconds to wait for a server that answers; 10,000 where absent. */
  readonly timeoutMs?: number;
}

/** One call; everything may be left out. */
export interface InvokeOptions {
  /** `POST` where absent. */
  readonly method?: string;
  /** Below the function's name, with its query; `/` where absent. */
  readonly path?: string;
  /** By name, or names and values in pairs where the order or a repeated name matters. */
  readonly headers?: Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];
  /** Whole, or in parts that are sent as they come, at the pace at which the function reads them. */
  readonly body?: string | Uint8Array | BodyParts;
  /** Milliseconds until the call is given up, the function's own timeout apart; 60,000 where absent. */
  readonly timeoutMs?: number;
  /** Ends the call: the function's work is stopped. */
  readonly signal?: AbortSignal;
  /** Made where absent. */
  readonly callId?: string;
}

/** A connection that calls functions. */
export interface Client {
  /**
   * Calls `name` or `name.namespace`. Resolves with the response's head as soon as there is one, whatever its status.
   * Rejects with a BuskerError when there is no response of the function: `function_not_found`, `no_replica`,
   * `deadline_exceeded`, `replica_lost`, `cancelled` and others of the catalogue in `schemas/errors.ts`.
   */
  readonly invoke: (name: string, options?: InvokeOptions) => Promise<FunctionResponse>;
  /** Gives the connection up; calls that are open fail. */
  readonly close: () => Promise<void>;
}

const defaultConnectMs = 10_000;
const defaultTimeoutMs = 60_000;
const none = new Uint8Array();

const pairsOf = (headers: InvokeOptions["headers"]): readonly (readonly [string, string])[] =>
  Array.isArray(headers) ? headers : Object.entries(headers ?? {});

const isParts = (body: InvokeOptions["body"]): body is BodyParts =>
  typeof body === "object" && !(body instanceof Uint8Array);

const cutUp = function* (bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += maxWholeBytes) yield bytes.subarray(at, at + maxWholeBytes);
};

/** A body as the first message takes it, and what follows. */
const bodyOf = (body: InvokeOptions["body"]): { whole: Uint8Array; parts: BodyParts | undefined } => {
  if (isParts(body)) return { whole: none, parts: body };
  const bytes = typeof body === "string" ? Buffer.from(body) : (body ?? none);
  return bytes.length <= maxWholeBytes ? { whole: bytes, parts: undefined } : { whole: none, parts: cutUp(bytes) };
};

const invocationOf = (name: string, options: InvokeOptions): Invocation => {
  const { whole, parts } = bodyOf(options.body);
  const headers = pairsOf(options.headers);
  const isBytes = !isParts(options.body) && parts !== undefined;
  const length = isBytes ? [["Content-Length", String(Buffer.byteLength(options.body ?? ""))] as const] : [];
  return {
    function: parseFunctionName(name),
    callId: options.callId ?? randomUUID(),
    head: { method: options.method ?? "POST", path: options.path ?? "/", headers: [...headers, ...length].flat() },
    contentType: headers.find(([key]) => key.toLowerCase() === "content-type")?.[1],
    body: whole,
    deadlineMs: Date.now() + (options.timeoutMs ?? defaultTimeoutMs),
    canStream: true,
    upload: parts && ((sink) => void writeParts(parts, sink)),
  };
};

const aborted = (signal: AbortSignal): BuskerError =>
  new BuskerError("cancelled", "the call was ended by its caller", { cause: signal.reason });

const start = (invoker: Invoker, invocation: Invocation, signal: AbortSignal | undefined): Promise<FunctionResponse> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal));
    let stopBody: (error: BuskerError) => void = () => {};
    const onAbort = (): void => {
      cancel();
      if (signal) fail(aborted(signal));
    };
    const forgetSignal = (): void => signal?.removeEventListener("abort", onAbort);
    const fail = (error: BuskerError): void => {
      forgetSignal();
      stopBody(error);
      reject(error);
    };
    const done = (result: CallResult): void => {
      if (result.kind === "failed") return fail(result.error);
      const { error } = result.reply;
      if (error !== undefined) return fail(new BuskerError(error, Buffer.from(result.body).toString("utf8").trim()));
      const opened = openResponse(invocation.callId, result, { cancel, ended: forgetSignal });
      stopBody = opened.fail;
      resolve(opened.response);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    const cancel = invoker.invoke(invocation, (result) => done(result));
  });

/**
 * Connects. Rejects with `bus_unavailable` when no server answers in time or it refuses the credentials, with
 * `unauthorized` when these cannot be read. Once connected, it comes back by itself from whatever happens to the server.
 */
export const connect = async (options: ConnectOptions): Promise<Client> => {
  const { url, credentialsFile, name = "client", timeoutMs: giveUpMs = defaultConnectMs } = options;
  const bus = await openBus({ url, credentialsFile, user: "invoke", name, giveUpMs });
  const invoker = openInvoker(bus);
  let isClosed = false;
  const assertOpen = (): void => {
    if (isClosed) throw new BuskerError("bus_unavailable", "this client has been closed");
  };
  return {
    invoke: async (functionName, call = {}) => {
      assertOpen();
      return start(invoker, invocationOf(functionName, call), call.signal);
    },
    close: async () => {
      isClosed = true;
      invoker.close();
      await bus.close();
    },
  };
};
