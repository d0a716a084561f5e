import type { FinishedCall } from "../../schemas/events.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { callDoneFilter, parseFunctionSubject, recordedCallFilter } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import type { CallRecords } from "../bus/call-records.ts";
import type { Bus } from "../bus/connection.ts";
import type { DeadLetters } from "../bus/dead-letters.ts";
import { readLast } from "../bus/last-message.ts";
import { readBack } from "../bus/read-back.ts";
import { readFinishedCalls, readRecorded } from "./told-by-replicas.ts";

/** What is known of a past or present call, by where it was found. */
export type FoundCall =
  /** The record of a durable call. */
  | { readonly kind: "record"; readonly whole: WholeRecord }
  /** Its record has expired, its dead letter has not. */
  | { readonly kind: "letter"; readonly whole: WholeRecord }
  /** A synchronous one whose function records bodies. */
  | { readonly kind: "recorded"; readonly whole: WholeRecord }
  /** A synchronous one of which nothing is known but when it ran and how it ended. */
  | { readonly kind: "finished"; readonly function: FunctionName; readonly call: FinishedCall };

/** Finds calls of any kind by their id. */
export interface CallFinder {
  /** Rejects with `bus_unavailable`. */
  readonly find: (id: string) => Promise<FoundCall | undefined>;
}

/** Batches of finished calls that are searched for one, at most: a second of work or so. */
const maxBatches = 20_000;
const batchWindow = 512;

/** The finished synchronous calls of an id, the newest first: an id may travel from function to function. */
export const findFinished = async (
  bus: Bus,
  id: string,
  since: Date,
): Promise<readonly { readonly function: FunctionName; readonly call: FinishedCall }[]> => {
  // As it stands in the batch: most batches do not hold it, and need not be parsed.
  const needle = Buffer.from(JSON.stringify(id));
  const found: { function: FunctionName; call: FinishedCall }[] = [];
  const options = { stream: streams.RECORD, filter: callDoneFilter, since, windowMessages: batchWindow };
  let read = 0;
  for await (const messages of readBack(bus, options)) {
    for (const { data, subject } of messages.toReversed()) {
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      const name = bytes.includes(needle) ? parseFunctionSubject(subject, 2) : undefined;
      if (!name) continue;
      for (const call of readFinishedCalls({ data })) if (call.id === id) found.push({ function: name, call });
    }
    read += messages.length;
    if (read >= maxBatches) break;
  }
  return found;
};

/** Creates the finder. */
export const createCallFinder = (bus: Bus, records: Pick<CallRecords, "read">, letters: DeadLetters): CallFinder => ({
  find: async (id) => {
    const record = await records.read(id);
    if (record) return { kind: "record", whole: record };
    const letter = await letters.read(id);
    if (letter) return { kind: "letter", whole: letter };
    const message = await readLast(bus, streams.RECORD, recordedCallFilter(id));
    const recorded = message && readRecorded(message);
    if (recorded) return { kind: "recorded", whole: recorded };
    const [finished] = await findFinished(bus, id, new Date(Date.now() - streams.RECORD.maxAgeMs));
    return finished && { kind: "finished", ...finished };
  },
});

/** The function of a call that was found, as `name.namespace`. */
export const functionOfFound = (found: FoundCall): FunctionName =>
  found.kind === "finished" ? found.function : found.whole.record.function;

/** Whether it is a synchronous call. */
export const isSynchronous = (found: FoundCall): boolean => found.kind === "finished" || found.kind === "recorded";

/** What a message to a person calls it. */
export const describeFound = (found: FoundCall, id: string): string =>
  `${isSynchronous(found) ? "synchronous call" : "call"} ${id} of ${formatFunctionName(functionOfFound(found))}`;
