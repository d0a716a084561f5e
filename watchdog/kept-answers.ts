import { randomBytes } from "node:crypto";
import { BuskerError } from "../schemas/errors.ts";
import { formatEventId, maxEventBytes, type ResponseHead } from "../schemas/invocation.ts";
import { keptHeadSubject, keptPartsSubject } from "../schemas/subjects.ts";
import { streams } from "../schemas/topology.ts";
import type { BodySink } from "../services/bus/body-sender.ts";
import type { Bus } from "../services/bus/connection.ts";
import { encodeFrame } from "../services/bus/frames.ts";
import { encodeKeptHead } from "../services/bus/kept-answer.ts";
import { createEventSplitter, type EventBlock } from "./event-splitter.ts";
import type { Answer } from "./mode.ts";

/** An answer whose events are kept. */
export interface KeptAnswer {
  /** The id under which it is kept. */
  readonly id: string;
  /** Where its body goes. */
  readonly sink: BodySink;
}

/** What is told of an answer that is to be kept. */
export interface KeptParts {
  readonly callId: string;
  readonly head: ResponseHead;
  readonly deadlineMs: number;
  /** The body cannot be kept: its function is to be stopped. */
  readonly onFault: (error: BuskerError) => void;
  /** Which error is told where the body ended with this one. */
  readonly toldOf: (error: BuskerError | undefined) => BuskerError | undefined;
  /** The last part has gone, or waits for the bus to come back; with the error that was told. */
  readonly onLast: (error: BuskerError | undefined) => void;
}

/** Keeps answers of one replica. */
export interface KeptAnswers {
  readonly open: (parts: KeptParts) => KeptAnswer;
}

// Nothing is acknowledged: after so many bytes a round trip shows that the server has taken them.
const roundTripBytes = 256 * 1024;

const endOfEvent = Buffer.from("\n");

const valueOf = (headers: readonly string[], name: string): string | undefined => {
  const at = headers.findIndex((header, index) => index % 2 === 0 && header.toLowerCase() === name);
  return at < 0 ? undefined : headers[at + 1];
};

/** Whether an answer is a stream of events that can be told apart here. */
export const isEventStream = ({ status, headers, error }: Answer): boolean =>
  status === 200 &&
  error === undefined &&
  /^text\/event-stream\s*(;|$)/i.test(valueOf(headers, "content-type")?.trim() ?? "") &&
  /^(identity)?$/i.test(valueOf(headers, "content-encoding")?.trim() ?? "");

const asFault = (cause: unknown): BuskerError =>
  cause instanceof BuskerError ? cause : new BuskerError("internal", "an event could not be kept", { cause });

const encodeEvent = (id: string, number: number, { lines, ownId }: EventBlock): Uint8Array =>
  Buffer.concat([
    Buffer.from(`id: ${formatEventId(id, number)}${ownId.length > 0 ? ":" : ""}`),
    ownId,
    endOfEvent,
    lines,
    endOfEvent,
  ]);

/** The head of an answer that takes longer than anything is kept is written anew in time. */
export const headEveryMs = streams.STREAMS.maxAgeMs / 3;

/** Calls `act` as soon as the bus is there. */
const whenConnected = (bus: Bus, act: () => void): void => {
  if (bus.isConnected()) return act();
  const forget = bus.onChange((connected) => {
    if (!connected) return;
    forget();
    act();
  });
};

const createSink = (bus: Bus, id: string, subject: string, parts: KeptParts): BodySink => {
  const splitter = createEventSplitter(maxEventBytes);
  let number = 0;
  let unconfirmedBytes = 0;
  let isWaiting = false;
  let isBroken = false;
  let isOver = false;
  const sink: BodySink = {
    onDrain: () => {},
    get isOver() {
      return isOver;
    },
    write: (chunk) => {
      if (isOver || isBroken) return true;
      try {
        for (const block of splitter.push(chunk)) publish(block);
      } catch (error) {
        isBroken = true;
        // Not at once: who writes may not have been told yet how to stop.
        queueMicrotask(() => parts.onFault(asFault(error)));
        return true;
      }
      if (unconfirmedBytes >= roundTripBytes && !isWaiting) void confirm();
      return !isWaiting;
    },
    end: () => last(undefined),
    abort: (error) => last(error),
  };
  const publish = (block: EventBlock): void => {
    const event = encodeEvent(id, (number += 1), block);
    unconfirmedBytes += event.length;
    bus.nc.publish(subject, event, { headers: encodeFrame("data", number) });
  };
  const confirm = async (): Promise<void> => {
    isWaiting = true;
    // Fails when the bus goes away, which ends the call.
    await bus.nc.flush().catch(() => {});
    isWaiting = false;
    unconfirmedBytes = 0;
    if (!isOver) sink.onDrain();
  };
  const last = (given: BuskerError | undefined): void => {
    // One that is broken ends with its fault, which is on its way.
    if (isOver || (isBroken && !given)) return;
    isOver = true;
    const error = parts.toldOf(given);
    const headers = encodeFrame(error ? "abort" : "end", number + 1, error?.code);
    // Here first: the caller takes its slot for free once it hears of the end.
    whenConnected(bus, () => bus.nc.publish(subject, error?.message ?? "", { headers }));
    parts.onLast(error);
  };
  return sink;
};

/** Creates it for one replica; nothing is published before an answer is opened. */
export const createKeptAnswers = (
  bus: Bus,
  { namespace, name, replica }: { readonly namespace: string; readonly name: string; readonly replica: string },
): KeptAnswers => ({
  open: (parts) => {
    // Whoever knows it may read, if the function may be called.
    const id = randomBytes(16).toString("hex");
    const { callId, head, deadlineMs } = parts;
    const headers = encodeKeptHead({ callId, head, deadlineMs, replica });
    const tellHead = (): void => bus.nc.publish(keptHeadSubject(namespace, name, id), "", { headers });
    tellHead();
    const timer = setInterval(tellHead, headEveryMs).unref();
    const onLast: KeptParts["onLast"] = (error) => {
      clearInterval(timer);
      parts.onLast(error);
    };
    return { id, sink: createSink(bus, id, keptPartsSubject(namespace, name, id), { ...parts, onLast }) };
  },
});
