import type { Bus } from "../bus/connection.ts";
import { readBack } from "../bus/read-back.ts";
import type { StreamMessage } from "../bus/streams.ts";
import { type CallSource, callSources } from "./call-sources.ts";
import type { CallsQuery } from "./calls-query.ts";
import { isAskedFor, type ListedCall, readChanges } from "./listed-call.ts";

/** Calls, the one that changed last first. */
export interface CallList {
  readonly calls: readonly ListedCall[];
  /** There are more that match and changed before `since`, or there may be. */
  readonly more: boolean;
  /** RFC 3339: whatever matches and changed from then on is in the list. */
  readonly since: string;
}

// Changes that one list reads at most: a second or two of work. Whoever asks for what is rare in a busy stream gets what
// was found up to there, and where it ends.
const maxChanges = 50_000;
// A batch of finished calls may hold a thousand of them.
const syncWindow = 128;

/** One source, read from its newest end. */
interface Cursor {
  readonly windows: AsyncGenerator<readonly StreamMessage[], void>;
  /** Everything newer than this has been read, milliseconds since the epoch; -Infinity when all has. */
  readMs: number;
}

const openCursor = (bus: Bus, { stream, filter }: CallSource, { since, until }: CallsQuery): Cursor => ({
  windows: readBack(bus, {
    stream,
    filter,
    since,
    until,
    ...(stream.name === "RECORD" ? { windowMessages: syncWindow } : {}),
  }),
  readMs: Number.POSITIVE_INFINITY,
});

interface Newest {
  readonly call: ListedCall;
  readonly rank: number;
  /** When the stream took its last change. */
  readonly atMs: number;
}

/** Of two changes of one call, what is known by both. */
const merge = (a: Newest, b: Newest): Newest => {
  const [older, newer] = a.rank < b.rank ? [a, b] : [b, a];
  // Whose call it is, only its first event says.
  const { parent, replayOf } = older.call;
  const origin = { ...(parent === undefined ? {} : { parent }), ...(replayOf === undefined ? {} : { replayOf }) };
  return { call: { ...origin, ...newer.call }, rank: newer.rank, atMs: Math.max(a.atMs, b.atMs) };
};

/** The newest that is known of each call. */
class Fold {
  readonly #durable = new Map<string, Newest>();
  readonly #sync: Newest[] = [];
  changes = 0;

  add(message: StreamMessage): void {
    for (const { call, rank } of readChanges(message)) {
      const newest = { call, rank, atMs: message.atMs };
      const known = this.#durable.get(call.id);
      this.changes += 1;
      if (call.kind === "sync") this.#sync.push(newest);
      else this.#durable.set(call.id, known ? merge(known, newest) : newest);
    }
  }

  /** Those that are asked for and changed at `fromMs` or later. */
  find(query: CallsQuery, fromMs: number): Newest[] {
    const isFound = ({ call, atMs }: Newest): boolean => atMs >= fromMs && isAskedFor(call, query);
    return [...[...this.#durable.values()].filter(isFound), ...this.#sync.filter(isFound)];
  }
}

/** Reads one window of the source that has been read least far back. */
const step = async (cursor: Cursor, fold: Fold): Promise<void> => {
  const next = await cursor.windows.next();
  if (next.done) {
    cursor.readMs = Number.NEGATIVE_INFINITY;
    return;
  }
  for (const message of next.value) fold.add(message);
  cursor.readMs = next.value[0]?.atMs ?? cursor.readMs;
};

/**
 * Lists calls by what streams CALLS and RECORD tell, newest first: the sources side by side, window by window, until
 * there are enough. No body is read.
 */
export const listCalls = async (bus: Bus, query: CallsQuery): Promise<CallList> => {
  const cursors = callSources(query).map((source) => openCursor(bus, source, query));
  const fold = new Fold();
  const readMs = (): number => Math.max(Number.NEGATIVE_INFINITY, ...cursors.map((cursor) => cursor.readMs));
  const isEnough = (): boolean => fold.changes >= maxChanges || fold.find(query, readMs()).length > query.limit;
  try {
    while (readMs() > Number.NEGATIVE_INFINITY && !isEnough())
      await step(
        cursors.reduce((a, b) => (b.readMs > a.readMs ? b : a)),
        fold,
      );
  } finally {
    for (const cursor of cursors) await cursor.windows.return();
  }
  const found = fold.find(query, readMs()).toSorted((a, b) => b.atMs - a.atMs || (a.call.at < b.call.at ? 1 : -1));
  const listed = found.slice(0, query.limit);
  const isCut = found.length > query.limit;
  const sinceMs = Math.max(query.since.getTime(), isCut ? (listed.at(-1)?.atMs ?? 0) : readMs());
  return {
    calls: listed.map(({ call }) => call),
    more: isCut || readMs() > Number.NEGATIVE_INFINITY,
    since: new Date(sinceMs).toISOString(),
  };
};
