import { setTimeout as pause } from "node:timers/promises";
import { BuskerError } from "../../../schemas/errors.ts";
import { buckets } from "../../../schemas/topology.ts";
import type { Bus } from "../../bus/connection.ts";
import { type Bucket, openBucket } from "../../bus/kv.ts";
import { holdLease, type Lease } from "../../bus/lease.ts";
import type { StreamPosition } from "../../bus/read-stream.ts";
import type { StoredLedger } from "./ledger.ts";
import type { Books, StoredBooks } from "./totals.ts";

/** A value of the bucket `totals`: one function's ledger; under `headKey`, up to where all of them hold everything. */
type Stored = StoredLedger | { readonly position: StreamPosition };

// No function's key: those have a dot.
const headKey = "all";
const everyMs = 10_000;
// Written at a time; the bus has other work, too.
const batch = 50;

const isLedger = (stored: Stored): stored is StoredLedger => "totals" in stored;

interface Contents {
  readonly revisions: Map<string, number>;
  readonly books: StoredBooks;
}

const readAll = async (bucket: Bucket<Stored>): Promise<Contents> => {
  const revisions = new Map<string, number>();
  const ledgers = new Map<string, StoredLedger>();
  let position: StreamPosition = { created: "", seq: 0 };
  let complete = (): void => {};
  const isComplete = new Promise<void>((resolve) => {
    complete = resolve;
  });
  const stop = await bucket.watch((change) => {
    // What is gone while it is told is not in it.
    if (change.kind === "gone") {
      revisions.delete(change.key);
      ledgers.delete(change.key);
      return;
    }
    const { key, value, revision } = change.entry;
    revisions.set(key, revision);
    if (isLedger(value)) ledgers.set(key, value);
    else ({ position } = value);
  }, complete);
  await isComplete;
  stop();
  return { revisions, books: { position, ledgers } };
};

/** The newest snapshot; an empty one when there is none. */
export const readSnapshot = async (bus: Bus): Promise<StoredBooks> =>
  (await readAll(await openBucket<Stored>(bus, buckets.totals))).books;

/** Writes what has changed since the last time. Throws `conflict` when somebody else does, too. */
const createWriter = (bucket: Bucket<Stored>, books: Books, { revisions, books: stored }: Contents) => {
  const written = new Map([...stored.ledgers].map(([key, { position }]) => [key, position]));
  const put = async (key: string, value: Stored): Promise<void> => {
    const revision = revisions.get(key);
    revisions.set(
      key,
      await (revision === undefined ? bucket.create(key, value) : bucket.update(key, value, revision)),
    );
  };
  const putLedger = async ([key, value]: readonly [string, StoredLedger]): Promise<void> => {
    await put(key, value);
    written.set(key, value.position);
  };
  const remove = async (key: string): Promise<void> => {
    await bucket.remove(key);
    revisions.delete(key);
    written.delete(key);
  };
  return async (): Promise<void> => {
    // Those that are written later may hold more than that: each says itself up to where.
    const position = books.position();
    const ledgers = books.ledgers();
    const changed = [...ledgers].filter(([key, ledger]) => ledger.position.seq !== written.get(key)?.seq);
    for (let at = 0; at < changed.length; at += batch)
      await Promise.all(changed.slice(at, at + batch).map(([key, ledger]) => putLedger([key, ledger.store()])));
    for (const key of written.keys()) if (!ledgers.has(key)) await remove(key);
    await put(headKey, { position });
  };
};

const isConflict = (error: unknown): boolean => error instanceof BuskerError && error.code === "conflict";

/**
 * Writes snapshots while this gateway has the role `totals`, every ten seconds, and one at the end, so that a gateway that
 * starts need not read the whole stream of samples, which is also shorter than the lives of functions.
 */
export const keepSnapshots = async (bus: Bus, books: Books): Promise<Lease> => {
  const bucket = await openBucket<Stored>(bus, buckets.totals);
  const work = async (signal: AbortSignal): Promise<void> => {
    const write = createWriter(bucket, books, await readAll(bucket));
    for (;;) {
      const isLast = signal.aborted;
      await write();
      if (isLast) return;
      await pause(everyMs, undefined, { signal }).catch(() => undefined);
    }
  };
  const unlessConflict = (signal: AbortSignal): Promise<void> =>
    work(signal).catch((error: unknown) => {
      // Somebody else has the role by now. What is in the bucket is theirs, and whole.
      if (!isConflict(error)) throw error;
    });
  return holdLease(bus, { role: "totals", work: unlessConflict });
};
