import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { partsAnyFilter } from "../../schemas/subjects.ts";
import { stores, streams } from "../../schemas/topology.ts";
import { askJetStream } from "./ask-jetstream.ts";
import type { Bus } from "./connection.ts";
import { isNoMessage } from "./jetstream-errors.ts";
import { scanHeaders, scanQueueHeaders } from "./scan-headers.ts";
import { openStoreKeeper, type StoreKeeper } from "./store-survey.ts";

/** Everything that calls leave behind, for the sweep. All of it rejects with `bus_unavailable` while the server is away. */
export interface CallStorage {
  /** Calls back with the headers of every message: of records, dead letters, outcomes or queued calls. */
  readonly scan: (
    what: "RESULTS" | "DEAD" | "OUTCOMES" | "INVOCATIONS",
    signal: AbortSignal,
    onHeaders: (headers: string, seq: number) => void,
  ) => Promise<void>;
  /** Takes away the records that stand there, and none that were written since. */
  readonly removeRecords: (seqs: readonly number[], signal: AbortSignal) => Promise<void>;
  /** The subjects under which parts are kept. */
  readonly partSubjects: () => Promise<readonly string[]>;
  /** When the newest part was written. */
  readonly newestPartMs: (subject: string) => Promise<number | undefined>;
  readonly purgeParts: (subject: string) => Promise<void>;
  readonly payloads: StoreKeeper;
}

// Asked for together: few, so that calls that are accepted meanwhile hardly wait.
const removalsAtATime = 16;

const messageDeleteFailed = 10_057;
const isGone = (cause: unknown): boolean =>
  isNoMessage(cause) || (cause instanceof JetStreamApiError && cause.code === messageDeleteFailed);

/** Not overwritten with random bytes, as the library would have it: that costs a write each. */
const removeRecord = async (manager: JetStreamManager, seq: number): Promise<void> => {
  try {
    await manager.streams.deleteMessage(streams.RESULTS.name, seq, false);
  } catch (cause) {
    // Its stream has dropped it, or another sweep.
    if (!isGone(cause)) throw cause;
  }
};

/** Opens it. */
export const openCallStorage = async (bus: Bus): Promise<CallStorage> => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const ask = <R>(what: string, act: () => Promise<R>): Promise<R> => askJetStream(bus, `could not ${what}`, act);
  const { name } = streams.PARTS;
  return {
    scan: (what, signal, onHeaders) => {
      const stream = streams[what];
      const scan = "retention" in stream ? scanQueueHeaders : scanHeaders;
      return scan(bus, stream, signal, onHeaders);
    },
    removeRecords: (seqs, signal) =>
      ask("remove records that have expired", async () => {
        for (let at = 0; at < seqs.length; at += removalsAtATime) {
          signal.throwIfAborted();
          await Promise.all(seqs.slice(at, at + removalsAtATime).map((seq) => removeRecord(manager, seq)));
        }
      }),
    partSubjects: () =>
      ask("look through the parts of responses", async () => {
        const { state } = await manager.streams.info(name, { subjects_filter: partsAnyFilter });
        return Object.keys(state.subjects ?? {});
      }),
    newestPartMs: (subject) =>
      ask("look into the parts of a response", async () => {
        const message = await manager.streams.getMessage(name, { last_by_subj: subject }).catch((cause: unknown) => {
          if (isNoMessage(cause)) return null;
          throw cause;
        });
        return message?.time.getTime();
      }),
    purgeParts: (subject) =>
      ask("remove the parts of a response", async () => {
        await manager.streams.purge(name, { filter: subject });
      }),
    payloads: await openStoreKeeper(bus, stores.payloads),
  };
};
