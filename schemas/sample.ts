import { type Histogram, histogramSchema } from "./histogram.ts";
import { amount, type JsonSchema, mapOf, object, string, time, whole } from "./json-schema.ts";

/*
 * What is measured of functions, as it travels: each source tells what it counted since its sample before. There is one
 * type of event for each kind of source, and one subject for each source of one function. No sample carries a time of
 * day: who reads takes the time at which it came to the stream, because clocks differ.
 */

/** What every sample begins with. */
export interface SampleHead {
  /** Tells apart the runs of one source: made at random when it begins to count this function. */
  readonly start: string;
  /** 1, 2, 3 … since that start. A sample may come again, and then counts once; a number left out was lost. */
  readonly n: number;
  /** The time that it covers: since the sample before. */
  readonly seconds: number;
}

/** Data of a replica's sample: once a second; of one that does nothing, every ten seconds. */
export interface ReplicaSample extends SampleHead {
  /** Calls begun in this time. */
  readonly started: number;
  /** Calls finished in this time, by HTTP status. */
  readonly finished: Readonly<Record<string, number>>;
  /** How long those took. */
  readonly durations: Histogram;
  /** How long calls were in the replica before the function had them. */
  readonly waits: Histogram;
  /** Calls in it now. */
  readonly inFlight: number;
  /** Calls it takes at a time; 0: no limit. */
  readonly slots: number;
  /** CPU of the whole replica in this time, in seconds. */
  readonly cpuSeconds: number;
  /** Resident memory of the whole replica now. */
  readonly memoryBytes: number;
}

/**
 * Data of a caller's sample: what one gateway or queue-worker sees of one function. Once a second while there are calls,
 * and earlier when calls begin to be parked; the last one before it falls silent says that there are none.
 */
export interface CallerSample extends SampleHead {
  /** Calls parked now: they wait here for a replica's slot. */
  readonly waiting: number;
  /** How long the first of them has waited, in milliseconds; 0 when none does. */
  readonly oldestWaitMs: number;
  /** Calls in replicas now. */
  readonly inFlight: number;
  /** Calls begun in this time. */
  readonly started: number;
  /** How long calls took that ended in this time, as their caller sees them, by HTTP status. */
  readonly answered: Readonly<Record<string, Histogram>>;
  /** Durable calls accepted here in this time; absent: none. */
  readonly accepted?: number;
}

/** Data of a queue's sample, told by every queue-worker of every queue that holds something: the newest counts. */
export interface QueueSample extends SampleHead {
  /** Durable calls that are not over: those that run and those that are put off, too. */
  readonly depth: number;
  /** Those of them that are not put off: absent where it is not known. */
  readonly due?: number;
  /** How long the first of them has been due, in milliseconds; 0 when it is put off, and while it is not known. */
  readonly oldestMs: number;
}

/**
 * Data of the mark that the provider sets into the stream of samples before a function's first replica: the function was
 * deployed anew, and what was counted under its name before is over.
 */
export interface DeployedMark {
  /** `createdAt` of the function's record. */
  readonly createdAt: string;
}

/** What each type of event in the stream of samples carries as its data. */
export interface SampleData {
  "io.busker.metric": ReplicaSample;
  "io.busker.metric.caller": CallerSample;
  "io.busker.metric.queue": QueueSample;
  "io.busker.metric.deployed": DeployedMark;
}

/** A type of event in the stream of samples. */
export type SampleType = keyof SampleData;

/** How often a source with something to tell does so, in milliseconds. */
export const sampleEveryMs = 1000;

/** How often a replica does that has nothing new to tell, in milliseconds. */
export const idleSampleEveryMs = 10_000;

const head = {
  start: string({ description: "Tells apart the runs of one source", minLength: 1, maxLength: 64 }),
  n: whole("1, 2, 3 … since that start: met again, it is a repeat; left out, it was lost", 1),
  seconds: amount("The time that it covers, since the sample before"),
};

/** The JSON Schema of each type's data. */
export const sampleSchemas: Readonly<Record<SampleType, JsonSchema>> = {
  "io.busker.metric": object({
    ...head,
    started: whole("Calls begun in this time"),
    finished: mapOf(whole("Calls finished in this time with this status", 1)),
    durations: histogramSchema("How long the calls finished took"),
    waits: histogramSchema("How long calls were in the replica before the function had them"),
    inFlight: whole("Calls in it now"),
    slots: whole("Calls it takes at a time; 0: no limit"),
    cpuSeconds: amount("CPU of the whole replica in this time"),
    memoryBytes: whole("Resident memory of the whole replica now"),
  }),
  "io.busker.metric.caller": object(
    {
      ...head,
      waiting: whole("Calls parked now"),
      oldestWaitMs: amount("How long the first of them has waited, in milliseconds"),
      inFlight: whole("Calls in replicas now"),
      started: whole("Calls begun in this time"),
      answered: mapOf(histogramSchema("How long the calls took that ended in this time with this status")),
    },
    {
      accepted: whole("Durable calls accepted in this time; absent: none"),
    },
  ),
  "io.busker.metric.queue": object(
    {
      ...head,
      depth: whole("Durable calls that are not over: those that run and those that are put off, too"),
      oldestMs: amount("How long the first of them has been due, in milliseconds; 0 when it is put off"),
    },
    {
      due: whole("Those of them that are not put off; absent where it is not known"),
    },
  ),
  "io.busker.metric.deployed": object({ createdAt: time("When the function was first deployed") }),
};
