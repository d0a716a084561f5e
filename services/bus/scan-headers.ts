import { jetstreamManager } from "@nats-io/jetstream";
import { BuskerError } from "../../schemas/errors.ts";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { asBusError } from "./jetstream-errors.ts";
import { createMessageFinder } from "./stored-message.ts";
import { StreamView } from "./stream-view.ts";

// A hundred thousand messages take seconds.
const longestMs = 5 * 60_000;

/**
 * Calls back with the headers of every message that a stream has now, in order. Resolves when it was all of them; rejects with
 * `bus_unavailable`, and with the reason of `signal`. Not of a work queue: only its own consumers may read that.
 */
export const scanHeaders = async (
  bus: Bus,
  { name, subjects }: Pick<StreamDefinition, "name" | "subjects">,
  signal: AbortSignal,
  onHeaders: (headers: string, seq: number) => void,
): Promise<void> => {
  signal.throwIfAborted();
  bus.assertConnected();
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const { state } = await manager.streams.info(name).catch((cause: unknown) => {
    throw asBusError(`could not read stream ${name}`, cause);
  });
  if (state.messages === 0) return;
  await new Promise<void>((resolve, reject) => {
    const view = new StreamView({
      bus,
      manager: () => Promise.resolve(manager),
      stream: name,
      subject: subjects[0] ?? ">",
      headersOnly: true,
      startSeq: 1,
      until: {
        ms: Date.now() + longestMs,
        overdue: new BuskerError("bus_unavailable", `stream ${name} could not be read within ${longestMs} ms`),
      },
      take: (_data, headers, _isFirst, { seq, pending }) => {
        onHeaders(headers, seq);
        return pending === 0 || seq >= state.last_seq ? "end" : "more";
      },
      onEnd: resolve,
      onError: reject,
      onOver: () => signal.removeEventListener("abort", stop),
    });
    const stop = (): void => {
      view.stop();
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", stop, { once: true });
  });
};

/** Does the same one message after the other: slower, and of work queues too. */
export const scanQueueHeaders = async (
  bus: Bus,
  stream: Pick<StreamDefinition, "name" | "subjects">,
  signal: AbortSignal,
  onHeaders: (headers: string, seq: number) => void,
): Promise<void> => {
  const finder = createMessageFinder(bus, stream);
  const filter = stream.subjects[0] ?? ">";
  for (let seq = 1; ;) {
    signal.throwIfAborted();
    const found = await finder.get({ seq, next_by_subj: filter }, (headers) => headers);
    if (!found) return;
    onHeaders(found.value, found.seq);
    seq = found.seq + 1;
  }
};
