import { createHash } from "node:crypto";
import { findHeader } from "../../../schemas/call-options.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import type { CallAcceptor } from "../../bus/accept-calls.ts";
import type { CallRecords } from "../../bus/call-records.ts";
import type { DurableCall } from "../../bus/durable-call.ts";
import type { ObjectStore } from "../../bus/objects.ts";
import { type Outcome, outcomeKey } from "../../bus/outcomes.ts";
import { putPayload } from "../../bus/payloads.ts";
import { headerId, passedOnHeaders, summaryHeaders, traceHeaders } from "./callback-headers.ts";
import type { OwnFunction } from "./own-functions.ts";
import { type BodyReader, type ResponseBody, toldResponse } from "./response-body.ts";
import type { TellResult } from "./tell-result.ts";
import { maxBodyHereBytes } from "../../../schemas/call.ts";

/** What calling functions with outcomes needs. */
export interface ChainParts {
  readonly acceptor: CallAcceptor;
  readonly records: Pick<CallRecords, "read">;
  readonly payloads: ObjectStore;
  readonly reader: BodyReader;
}

/** How many calls in a row may each be made from the one before. */
export const maxChainDepth = 32;

/** Says how many calls a call is away from the one that began its chain. */
export const depthHeader = "X-Busker-Depth";

const depthOf = ({ whole }: Outcome): number => {
  const text = findHeader(whole.record.request?.head.headers ?? [], depthHeader) ?? "0";
  // Whoever writes nonsense into it is treated as a loop: it must not be a way out.
  return /^\d{1,6}$/.test(text) ? Number(text) : maxChainDepth;
};

/** The id of the call that follows: always the same for a call and a target, in the form of a UUID. */
export const chainedCallId = (key: string): string => {
  const hex = createHash("sha256").update(`chained ${key}`).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
};

const collect = async (body: ResponseBody): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body.open()) chunks.push(chunk);
  return Buffer.concat(chunks);
};

const bodyOf = async (
  { payloads }: ChainParts,
  id: string,
  body: ResponseBody,
): Promise<Pick<DurableCall, "body" | "payload">> =>
  body.bytes <= maxBodyHereBytes
    ? { body: await collect(body) }
    : { body: new Uint8Array(), payload: await putPayload(payloads, id, body.open(), body.bytes) };

const createCall = async (
  parts: ChainParts,
  outcome: Outcome,
  { function: name, path }: OwnFunction,
  id: string,
): Promise<DurableCall> => {
  const { record } = outcome.whole;
  const { head, body } = toldResponse(outcome.whole, parts.reader);
  const passedOn = passedOnHeaders(head);
  const contentType = findHeader(passedOn, "Content-Type");
  const nowMs = Date.now();
  return {
    id,
    function: name,
    priority: record.priority,
    queuedMs: nowMs,
    parent: record.id,
    ...(record.traceparent === undefined ? {} : { traceparent: record.traceparent }),
    ...(record.tracestate === undefined ? {} : { tracestate: record.tracestate }),
    ...(contentType === undefined ? {} : { contentType }),
    head: {
      method: "POST",
      path,
      headers: [
        ...passedOn,
        "X-Parent-Call-Id",
        headerId(record.id),
        ...summaryHeaders(record, head.status),
        "X-Start-Time",
        `${nowMs}000000`,
        depthHeader,
        String(depthOf(outcome) + 1),
        ...traceHeaders(record),
      ],
    },
    ...(await bodyOf(parts, id, body)),
  };
};

const failureOf = (cause: unknown): TellResult => {
  if (!(cause instanceof BuskerError)) throw cause;
  const isOurs = cause.code === "bus_unavailable" || cause.code === "queue_full";
  return isOurs ? { kind: "later", delayMs: 2000 } : { kind: "final", error: cause };
};

/**
 * Makes the outcome of a call a durable call of a function of this platform: the response is its body. A repeat is the same call
 * again. Chains end at `maxChainDepth`, because a function that is told its own outcome would run for ever.
 */
export const chainCall = async (parts: ChainParts, outcome: Outcome, own: OwnFunction): Promise<TellResult> => {
  const { record } = outcome.whole;
  if (depthOf(outcome) >= maxChainDepth) {
    const what = `call ${record.id} is number ${maxChainDepth} of a chain of calls made of outcomes`;
    return { kind: "final", error: new BuskerError("chain_too_long", `${what}; ${own.function.name} is not called`) };
  }
  const id = chainedCallId(outcomeKey(record.id, outcome.target));
  try {
    if (await parts.records.read(id)) return { kind: "told" };
    const call = await createCall(parts, outcome, own, id);
    const { isDuplicate } = await parts.acceptor.accept(call);
    if (isDuplicate && call.payload?.name !== undefined) await parts.payloads.remove(call.payload.name);
    return { kind: "told" };
  } catch (cause) {
    return failureOf(cause);
  }
};
