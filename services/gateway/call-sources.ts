import { finalStates } from "../../schemas/call.ts";
import {
  callAnyFilter,
  callDoneFilter,
  callStateFilter,
  callSubject,
  durableCallStates,
} from "../../schemas/subjects.ts";
import { type StreamDefinition, streams } from "../../schemas/topology.ts";
import type { CallFilter } from "./calls-query.ts";

/** A part of a stream in which calls are told of. */
export interface CallSource {
  readonly stream: StreamDefinition;
  readonly filter: string;
}

const durableSources = ({ function: name, state }: CallFilter): readonly CallSource[] => {
  const stream = streams.CALLS;
  if (state === "failed") return [];
  // What is over stays so: only these events need be read. Of the others, any later one says that it is not so any more.
  const final = finalStates.find((known) => known === state);
  const states = final === undefined ? durableCallStates : [final];
  if (name) return states.map((one) => ({ stream, filter: callSubject(one, name.namespace, name.name) }));
  // One filter for all states is wider than each subject of the stream, which the server takes; for one function it is
  // neither wider nor narrower, which it refuses (seen on 2.9.10).
  return [{ stream, filter: final === undefined ? callAnyFilter : callStateFilter(final) }];
};

const syncSources = ({ function: name, state }: CallFilter): readonly CallSource[] => {
  const canBe = state === undefined || state === "failed" || state === "succeeded";
  if (!canBe) return [];
  return [{ stream: streams.RECORD, filter: name ? callSubject("done", name.namespace, name.name) : callDoneFilter }];
};

/** Where the calls that are asked for are told of: durable ones in stream CALLS, synchronous ones in RECORD. */
export const callSources = (filter: CallFilter): readonly CallSource[] => [
  ...(filter.kind === "sync" ? [] : durableSources(filter)),
  ...(filter.kind === "durable" ? [] : syncSources(filter)),
];
