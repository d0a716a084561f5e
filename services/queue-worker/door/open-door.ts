import { maxBodyHereBytes } from "../../../schemas/call.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { formatFunctionName } from "../../../schemas/names.ts";
import { asyncAnyFilter, asyncSubject } from "../../../schemas/subjects.ts";
import { maxStreamHeaderBytes, streams } from "../../../schemas/topology.ts";
import { parseTraceparent } from "../../../schemas/trace-context.ts";
import type { Acceptance, CallAcceptor } from "../../bus/accept-calls.ts";
import { identifyCall, withIdentity } from "../../bus/call-ids.ts";
import { consumeDurably, type Disposition } from "../../bus/consume.ts";
import type { DurableCall } from "../../bus/durable-call.ts";
import type { ObjectStore } from "../../bus/objects.ts";
import { putPayload } from "../../bus/payloads.ts";
import { reportFault } from "../../bus/report-fault.ts";
import { describeError } from "../../runtime/log.ts";
import type { Tracing } from "../../runtime/tracing.ts";
import type { Functions } from "../functions.ts";
import { type BuryParts, buryMessage } from "./bury-message.ts";
import { type DoorMessage, readDoorCall, readDoorFunction } from "./read-door-call.ts";
import { openWaitingSenders, type WaitingSenders } from "./waiting-senders.ts";

/** What taking calls in at the door needs. */
export interface DoorParts extends BuryParts {
  readonly acceptor: CallAcceptor;
  readonly payloads: Pick<ObjectStore, "put">;
  readonly functions: Pick<Functions, "lookUp">;
  readonly leaseMs: number;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/** What a sender is told: as JetStream itself answers a publisher, and the call's id. */
interface DoorAnswer {
  readonly stream: string;
  readonly seq: number;
  readonly duplicate?: true;
  readonly id: string;
}

// At a time in this worker: what takes the time is the streams' acknowledgements.
const concurrency = 256;
const againMs = 1000;

const withPayload = async ({ payloads }: DoorParts, call: DurableCall): Promise<DurableCall> => {
  const { body } = call;
  if (body.length <= maxBodyHereBytes) return call;
  const payload = await putPayload(payloads, call.id, partsOf(body), body.length);
  return { ...call, payload, body: new Uint8Array() };
};

const partsOf = async function* (body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield body;
};

/** What a call was caused by at the door is what its attempts are caused by. */
const acceptTraced = async ({ tracing, acceptor }: DoorParts, call: DurableCall): Promise<Acceptance> => {
  if (!tracing) return acceptor.accept(call);
  const name = formatFunctionName(call.function);
  const span = tracing.begin({
    name: `accept ${name}`,
    kind: "producer",
    parent: parseTraceparent(call.traceparent),
    attributes: {
      "messaging.system": "nats",
      "messaging.destination.name": asyncSubject(call.function.namespace, call.function.name),
      "messaging.message.id": call.id,
      "messaging.operation.type": "send",
      "messaging.operation.name": "accept",
      "faas.invocation.id": call.id,
      "faas.invoked_name": name,
    },
  });
  try {
    const accepted = await acceptor.accept({ ...call, traceparent: span.traceparent });
    span.end();
    return accepted;
  } catch (error) {
    span.end({ error: describeError(error) });
    throw error;
  }
};

const takeIn = async (parts: DoorParts, message: DoorMessage): Promise<DoorAnswer> => {
  const { call, given } = readDoorCall(message);
  if (!(await parts.functions.lookUp(call.function)))
    throw new BuskerError("function_not_found", `there is no function ${formatFunctionName(call.function)}`);
  const identity = await identifyCall(parts.records, call.function, given);
  const stream = streams.INVOCATIONS.name;
  if (identity.isKnown) return { stream, seq: 0, duplicate: true, id: identity.id };
  const { id, seq, isDuplicate } = await acceptTraced(parts, await withPayload(parts, withIdentity(call, identity)));
  return { stream, seq, ...(isDuplicate ? { duplicate: true as const } : {}), id };
};

const faultOf = (cause: unknown): BuskerError =>
  cause instanceof BuskerError ? cause : new BuskerError("internal", String(cause), { cause });

const isSubject = (message: DoorMessage): boolean => {
  try {
    readDoorFunction(message);
    return true;
  } catch {
    return false;
  }
};

const refuse = async (
  parts: DoorParts,
  message: DoorMessage,
  error: BuskerError,
  senders: WaitingSenders,
): Promise<Disposition> => {
  // While the server is away there is nobody to tell; what is at the door stays there.
  if (error.retryable && error.code !== "queue_full") return { kind: "retry", delayMs: againMs };
  const reply = senders.claim(message);
  if (reply !== undefined) {
    answerError(parts, reply, error);
    return { kind: "done" };
  }
  if (error.retryable) return { kind: "retry", delayMs: againMs };
  if (isSubject(message)) await buryMessage(parts, message, error);
  else reportFault(`a message on ${message.subject} was dropped`, error);
  return { kind: "done" };
};

const answer = ({ bus }: DoorParts, reply: string, body: object): void => {
  const type = "io.nats.jetstream.api.v1.pub_ack_response";
  // Whoever is not answered for want of a server asks again, under the same id.
  if (bus.isConnected()) bus.nc.publish(reply, JSON.stringify({ type, ...body }));
};

const answerError = (parts: DoorParts, reply: string, { status, code, message }: BuskerError): void =>
  answer(parts, reply, { error: { code: status, description: `${code}: ${message}` } });

/**
 * Opens the door: what anybody publishes to a function's `busker.async` subject is accepted as the gateway accepts a call,
 * and its sender is answered; what cannot be accepted is answered too, or is buried where nobody waits. Any number of
 * workers share it. Gives a function that closes it.
 */
export const openDoor = async (parts: DoorParts): Promise<() => Promise<void>> => {
  const senders = openWaitingSenders(parts.bus, (reply, bytes) =>
    answerError(
      parts,
      reply,
      new BuskerError("invalid_request", `the headers are ${bytes} bytes; at most ${maxStreamHeaderBytes} are taken`),
    ),
  );
  const stop = await consumeDurably(
    parts.bus,
    { stream: streams.DOOR, durable: "door", filters: [asyncAnyFilter], concurrency, leaseMs: parts.leaseMs },
    async ({ subject, data, headers, seq, info }) => {
      const message = { subject, data, headers, seq, atNanos: info.timestampNanos };
      try {
        const accepted = await takeIn(parts, message);
        const reply = senders.claim(message);
        if (reply !== undefined) answer(parts, reply, accepted);
        return { kind: "done" };
      } catch (cause) {
        return refuse(parts, message, faultOf(cause), senders);
      }
    },
  );
  return async () => {
    await stop();
    senders.stop();
  };
};
