import { PassThrough } from "node:stream";
import { BuskerError } from "../../schemas/errors.ts";
import { callAnyFilter, callDoneFilter } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { readLastSeq } from "../bus/last-message.ts";
import { readStream, type StreamMessage } from "../bus/streams.ts";
import type { CallSource } from "./call-sources.ts";
import type { CallFilter } from "./calls-query.ts";
import { isAskedFor, readChanges } from "./listed-call.ts";

// Comes often enough that no proxy takes the connection for dead.
const heartbeatMs = 15_000;
// A client that takes nothing is let go with so much waiting for it; it may come back and go on where it was.
const maxWaitingBytes = 8 * 1024 * 1024;

/** What is followed: whole streams, as the server has no filter for all states of one function. */
const sourcesOf = ({ kind }: CallFilter): readonly CallSource[] => [
  ...(kind === "sync" ? [] : [{ stream: streams.CALLS, filter: callAnyFilter }]),
  ...(kind === "durable" ? [] : [{ stream: streams.RECORD, filter: callDoneFilter }]),
];

/** Where a client was: the number of the last message in each stream that is followed, joined by `-`. */
const readPosition = (lastEventId: string, sources: readonly CallSource[]): readonly number[] => {
  const numbers = /^\d{1,15}(-\d{1,15})?$/.test(lastEventId) ? lastEventId.split("-").map(Number) : [];
  if (numbers.length === sources.length) return numbers;
  const form = sources.map(({ stream }) => `<number in ${stream.name}>`).join("-");
  throw new BuskerError(
    "invalid_request",
    `Last-Event-ID must be ${form}, as the events of this stream have it; got ${JSON.stringify(lastEventId.slice(0, 100))}`,
  );
};

/** Writes the changes that a message tells, the last with the position behind that message. */
const writeChanges = (output: PassThrough, filter: CallFilter, message: StreamMessage, position: string): void => {
  const asked = readChanges(message).filter(({ call }) => isAskedFor(call, filter));
  asked.forEach(({ call }, at) => {
    const id = at === asked.length - 1 ? `id: ${position}\n` : "";
    output.write(`${id}event: call\ndata: ${JSON.stringify(call)}\n\n`);
  });
  if (output.writableLength > maxWaitingBytes) output.destroy();
};

/**
 * The changes of calls from now on, or from `lastEventId` on, as server-sent events; ends when its reader goes. Each change is
 * told at least once: of those of one batch, a reader that comes back may get some again. Rejects with
 * `invalid_request` for an id that is none of these, and with `bus_unavailable`.
 */
export const followCalls = async (
  bus: Bus,
  filter: CallFilter,
  lastEventId: string | undefined,
): Promise<PassThrough> => {
  const sources = sourcesOf(filter);
  const ends = await Promise.all(sources.map(({ stream }) => readLastSeq(bus, stream)));
  const wanted = lastEventId === undefined ? ends : readPosition(lastEventId, sources);
  // Beyond the end of a stream that was made anew there is nothing to wait for.
  const position = ends.map((end, at) => Math.min(end, wanted[at] ?? end));
  const output = new PassThrough();
  const heartbeat = setInterval(() => output.write(":\n\n"), heartbeatMs);
  const stops: (() => void)[] = [() => clearInterval(heartbeat)];
  output.on("close", () => {
    for (const stop of stops.splice(0)) stop();
  });
  // Tells the client where it is before anything has happened.
  output.write(`id: ${position.join("-")}\nevent: open\ndata: {}\n\n`);
  for (const [at, { stream, filter: subject }] of sources.entries()) {
    const options = { stream, filter: subject, since: new Date(), afterSeq: position[at] };
    const stop = await readStream(
      bus,
      options,
      (message) => {
        position[at] = message.seq;
        if (!output.destroyed) writeChanges(output, filter, message, position.join("-"));
      },
      () => undefined,
    ).catch((cause: unknown) => {
      output.destroy();
      throw cause;
    });
    stops.push(stop);
    if (output.destroyed) stop();
  }
  return output;
};
