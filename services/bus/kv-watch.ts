import { setTimeout as pause } from "node:timers/promises";
import type { KV, KvStatus, KvWatchEntry } from "@nats-io/kv";
import type { Bus } from "./connection.ts";
import { isClustered, openPatiently } from "./follow-jetstream.ts";
import { asBusError } from "./jetstream-errors.ts";
import { keepRunning } from "./keep-running.ts";
import { type Change, isPresent, readEntry } from "./kv-entry.ts";
import { reportFault } from "./report-fault.ts";

/** Whom a watch tells. */
export interface Watcher<T> {
  readonly onChange: (change: Change<T>) => void;
  readonly onCaughtUp: () => void;
}

type KvWatch = Awaited<ReturnType<KV["watch"]>>;

/** What a watch has told of one bucket, so that it tells each change once, however often it must begin anew. */
class ToldKeys<T> {
  readonly #told = new Map<string, { readonly revision: number; readonly atMs: number }>();
  readonly #tell: (change: Change<T>) => void;

  constructor(tell: (change: Change<T>) => void) {
    this.#tell = tell;
  }

  /** Tells of an entry that is new since it was last told. */
  see(entry: KvWatchEntry): void {
    const { key, revision } = entry;
    if (!isPresent(entry)) return this.#forget(key, revision);
    const told = this.#told.get(key);
    const atMs = entry.created.getTime();
    // The time as well: a bucket that was made anew counts its revisions from one again.
    if (told?.revision === revision && told.atMs === atMs) return;
    const read = readEntry<T>(entry);
    this.#told.set(key, { revision, atMs });
    this.#tell({ kind: "put", entry: read });
  }

  /** Tells that every key is gone which is not among those present. */
  keepOnly(present: ReadonlySet<string>): void {
    for (const [key, { revision }] of this.#told) if (!present.has(key)) this.#forget(key, revision + 1);
  }

  #forget(key: string, revision: number): void {
    if (this.#told.delete(key)) this.#tell({ kind: "gone", key, revision });
  }
}

interface OpenWatch {
  readonly watch: KvWatch;
  readonly isEmpty: boolean;
  /** Of the newest message when the watch was made, which may have run out since. */
  readonly lastSeq: number;
}

const lastSeqOf = (status: KvStatus): number => status.streamInfo.state.last_seq;

const openWatch = async (kv: KV): Promise<OpenWatch> => {
  const watch = await kv.watch();
  // Asked after the watch was made: a key that is put in between is told by the watch. What counts is messages, those
  // that a removal leaves behind too: the watch delivers them as well.
  const status = await kv.status();
  return { watch, isEmpty: status.values === 0, lastSeq: lastSeqOf(status) };
};

// A check costs one request.
const checkMs = 1000;

/**
 * Looks after a watch on a cluster, where its consumer may be gone with a server that is not the one we are connected
 * to, and nothing says so: when the bucket has had something for two looks that the watch has not told, it is stopped.
 * Rejects never; ends with the watch.
 */
const lookAfter = async (bus: Bus, kv: KV, watch: KvWatch, toldSeq: () => number, over: AbortSignal): Promise<void> => {
  let missing = 0;
  while (isClustered(bus) && !over.aborted) {
    await pause(checkMs, undefined, { signal: over }).catch(() => undefined);
    // The bucket too may have no leader for a moment.
    const lastSeq = await kv.status().then(lastSeqOf, () => 0);
    if (over.aborted) return;
    if (missing > toldSeq()) return watch.stop();
    missing = lastSeq;
  }
};

/**
 * Watches a bucket: every present key, then every change, in order. After each loss of the server it begins anew and
 * tells what is different: so nothing rests on a consumer that the server may have forgotten (the library notices that
 * by two missing heartbeats, 30 s apart), and removals of which no trace is left are told too. On a cluster the loss of
 * another server is noticed within a few seconds. Gives a function that stops it.
 */
export const watchBucket = async <T>(bus: Bus, name: string, kv: KV, watcher: Watcher<T>): Promise<() => void> => {
  const stopping = new AbortController();
  const guard = (tell: () => void): void => {
    try {
      tell();
    } catch (cause) {
      reportFault(`a watcher of bucket ${name} failed`, cause);
    }
  };
  const told = new ToldKeys<T>((change) => watcher.onChange(change));
  let caughtUp = false;
  let current: KvWatch | undefined;
  let next: OpenWatch | undefined = await openPatiently(bus, () => openWatch(kv)).catch((cause: unknown) => {
    throw asBusError(`could not watch bucket ${name}`, cause);
  });
  const catchUp = (present: ReadonlySet<string>): void => {
    guard(() => told.keepOnly(present));
    if (caughtUp) return;
    caughtUp = true;
    guard(watcher.onCaughtUp);
  };
  const round = async (): Promise<void> => {
    const { watch, isEmpty, lastSeq } = next ?? (await openWatch(kv));
    next = undefined;
    current = watch;
    let toldSeq = lastSeq;
    const over = new AbortController();
    void lookAfter(bus, kv, watch, () => toldSeq, over.signal);
    const present = new Set<string>();
    let counting = !isEmpty;
    try {
      if (isEmpty) catchUp(present);
      for await (const entry of watch) {
        if (stopping.signal.aborted) return;
        toldSeq = Math.max(toldSeq, entry.revision);
        guard(() => told.see(entry));
        if (!counting) continue;
        if (isPresent(entry)) present.add(entry.key);
        else present.delete(entry.key);
        counting = !(entry.isUpdate || entry.delta === 0);
        if (!counting) catchUp(present);
      }
    } finally {
      over.abort();
    }
  };
  const unlisten = bus.onChange((connected) => {
    if (!connected) current?.stop();
  });
  void keepRunning(bus, `watching bucket ${name}`, stopping.signal, round);
  return () => {
    stopping.abort();
    unlisten();
    current?.stop();
    next?.watch.stop();
  };
};
