import { type Attempt, type CallRecord, isFinal } from "../../schemas/call.ts";
import type { CallChange } from "../../schemas/events.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { callStateFilter, logFilter, parseFunctionSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import type { Bus } from "../bus/connection.ts";
import { type BackOptions, readBack } from "../bus/read-back.ts";
import type { StreamMessage } from "../bus/streams.ts";
import { viewWholeCall } from "./call-view.ts";
import { findFinished, type FoundCall, functionOfFound, isSynchronous } from "./find-call.ts";
import { finishedCall, type ListedCall } from "./listed-call.ts";
import { readLogLines } from "./told-by-replicas.ts";

/** One thing that happened to a call. */
export interface StoryEvent {
  /** RFC 3339. */
  readonly at: string;
  readonly state: ListedCall["state"];
  readonly attempt?: number;
  readonly status?: number;
  readonly error?: Attempt["error"];
  readonly durationSeconds?: number;
  readonly nextAttemptAt?: string;
}

/** A line that a call's function wrote for it. */
export interface StoryLine {
  readonly at: string;
  readonly instance: string;
  readonly stream: "stdout" | "stderr";
  readonly text: string;
}

/** A call that came of another one. */
export interface StoryChild {
  readonly id: string;
  readonly function: string;
  readonly kind: "durable" | "sync";
  readonly at: string;
}

/** All that is known of one call. */
export interface CallStory {
  readonly call: object;
  readonly history: readonly StoryEvent[];
  readonly logs: readonly StoryLine[];
  readonly children: readonly StoryChild[];
  /** Logs and children were searched to the end: where much else happens at the same time, there is a bound. */
  readonly complete: boolean;
}

// Messages that are searched for lines or children at most: a second of work or so.
const maxSearched = 50_000;
// Lines come a moment after their call has ended, and what a chain makes of its outcome is queued soon.
const linesAfterMs = 2000;
const childrenAfterMs = 60_000;

const isoOf = (ms: number): string => new Date(ms).toISOString();

const given = <K extends string, T>(key: K, value: T | undefined): Partial<Record<K, T>> =>
  value === undefined ? {} : ({ [key]: value } as Record<K, T>);

const eventsOf = (record: CallRecord, attempt: Attempt, isLast: boolean): readonly StoryEvent[] => {
  const { number, startedMs, endedMs, status, error } = attempt;
  const started: StoryEvent = { at: isoOf(startedMs), state: "running", attempt: number };
  const isOpen = isLast && !isFinal(record.state) && record.state !== "retrying";
  if (isOpen || (isLast && record.state === "cancelled" && endedMs === undefined)) return [started];
  const ended: StoryEvent = {
    at: isoOf(endedMs ?? startedMs),
    state: isLast && isFinal(record.state) ? listedState(record) : "retrying",
    attempt: number,
    ...given("status", status),
    ...given("error", error),
    ...given("durationSeconds", endedMs === undefined ? undefined : Math.max(0, endedMs - startedMs) / 1000),
    ...(isLast ? given("nextAttemptAt", record.nextMs === undefined ? undefined : isoOf(record.nextMs)) : {}),
  };
  return [started, ended];
};

/** The state that a list shows for a record: a synchronous call that did not succeed has failed. */
export const listedState = ({ state, isSynchronous: isSync }: CallRecord): ListedCall["state"] =>
  isSync && state === "dead" ? "failed" : state;

/** What happened to a call, by its record; a record keeps the latest attempts only. */
export const historyOf = (record: CallRecord): readonly StoryEvent[] => {
  const queued: StoryEvent = {
    at: isoOf(record.queuedMs),
    state: "queued",
    ...given("nextAttemptAt", record.runAtMs === undefined ? undefined : isoOf(record.runAtMs)),
  };
  const attempts = record.attempts.flatMap((attempt, at) =>
    eventsOf(record, attempt, at === record.attempts.length - 1),
  );
  const last = attempts.at(-1);
  const isTold = !isFinal(record.state) || last?.state === listedState(record);
  const end: StoryEvent = {
    at: isoOf(record.endedMs ?? record.queuedMs),
    state: listedState(record),
    ...given("error", record.error),
  };
  return [...(record.isSynchronous ? [] : [queued]), ...attempts, ...(isTold ? [] : [end])];
};

/** A record as the administrator sees it. */
export const viewRecord = (whole: WholeRecord): object => ({
  ...viewWholeCall(whole),
  state: listedState(whole.record),
  kind: whole.record.isSynchronous ? "sync" : "durable",
});

/** What is known of a call that was found, without logs and children. */
const viewFound = (found: FoundCall): Pick<CallStory, "call" | "history"> => {
  if (found.kind !== "finished") return { call: viewRecord(found.whole), history: historyOf(found.whole.record) };
  const { state, at, status, durationSeconds, ...call } = finishedCall(formatFunctionName(found.function), found.call);
  const started: StoryEvent = { at: isoOf(found.call.startedMs), state: "running", attempt: 1 };
  const ended: StoryEvent = {
    at,
    state,
    attempt: 1,
    ...given("status", status),
    ...given("durationSeconds", durationSeconds),
  };
  return {
    call: { ...call, state, startedAt: started.at, endedAt: at, status, durationSeconds },
    history: [started, ended],
  };
};

const periodOf = (found: FoundCall): { readonly fromMs: number; readonly toMs: number | undefined } => {
  if (found.kind === "finished")
    return { fromMs: found.call.startedMs, toMs: found.call.startedMs + found.call.durationMs };
  const { queuedMs, endedMs } = found.whole.record;
  return { fromMs: queuedMs, toMs: endedMs };
};

/** Searches a part of a stream for messages that name an id: most do not, and are not parsed. */
const search = async (
  bus: Bus,
  id: string,
  options: BackOptions,
  onMatch: (message: StreamMessage) => void,
): Promise<boolean> => {
  const needle = Buffer.from(JSON.stringify(id));
  let searched = 0;
  for await (const messages of readBack(bus, options)) {
    for (const message of messages.toReversed())
      if (Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength).includes(needle))
        onMatch(message);
    searched += messages.length;
    if (searched >= maxSearched) return false;
  }
  return true;
};

const parse = <T>({ data }: StreamMessage): T => JSON.parse(Buffer.from(data).toString("utf8")) as T;

const untilAfter = (toMs: number | undefined, ms: number): Date | undefined =>
  toMs === undefined || toMs + ms > Date.now() ? undefined : new Date(toMs + ms);

type Searched<T> = { readonly found: readonly T[]; readonly complete: boolean };

const readLines = async (bus: Bus, id: string, found: FoundCall): Promise<Searched<StoryLine>> => {
  const { namespace, name } = functionOfFound(found);
  const { fromMs, toMs } = periodOf(found);
  const lines: StoryLine[] = [];
  const complete = await search(
    bus,
    id,
    {
      stream: streams.LOGS,
      filter: logFilter(namespace, name),
      since: new Date(fromMs),
      until: untilAfter(toMs, linesAfterMs),
    },
    (message) => {
      const instance = message.subject.slice(message.subject.lastIndexOf(".") + 1);
      for (const { at, stream, text, callId } of readLogLines(message).toReversed())
        if (callId === id) lines.push({ at, instance, stream, text });
    },
  );
  return { found: lines.toReversed().toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)), complete };
};

const readChildren = async (bus: Bus, id: string, found: FoundCall): Promise<Searched<StoryChild>> => {
  const { fromMs, toMs } = periodOf(found);
  const children: StoryChild[] = [];
  const complete = await search(
    bus,
    id,
    {
      stream: streams.CALLS,
      filter: callStateFilter("queued"),
      since: new Date(fromMs),
      until: untilAfter(toMs, childrenAfterMs),
    },
    (message) => {
      const change = parse<CallChange>(message);
      const name = parseFunctionSubject(message.subject, 2);
      if (change.parent !== id || !name) return;
      children.push({ id: change.id, function: formatFunctionName(name), kind: "durable", at: isoOf(change.atMs) });
    },
  );
  return { found: children.toReversed(), complete };
};

/** An id travels along with the calls that a function makes: synchronous ones of other functions have it, too. */
const readTravelled = async (bus: Bus, id: string, found: FoundCall): Promise<readonly StoryChild[]> => {
  const own: FunctionName = functionOfFound(found);
  const all = await findFinished(bus, id, new Date(periodOf(found).fromMs));
  return all
    .filter(({ function: name }) => !isSynchronous(found) || formatFunctionName(name) !== formatFunctionName(own))
    .map(({ function: name, call }) => ({
      id,
      function: formatFunctionName(name),
      kind: "sync" as const,
      at: isoOf(call.startedMs),
    }));
};

/** Tells all that is known of a call: what happened to it, what its function wrote, and what came of it. */
export const tellStory = async (bus: Bus, id: string, found: FoundCall): Promise<CallStory> => {
  const [lines, children, travelled] = await Promise.all([
    readLines(bus, id, found),
    readChildren(bus, id, found),
    readTravelled(bus, id, found),
  ]);
  return {
    ...viewFound(found),
    logs: lines.found,
    children: [...children.found, ...travelled].toSorted((a, b) => (a.at < b.at ? -1 : 1)),
    complete: lines.complete && children.complete,
  };
};
