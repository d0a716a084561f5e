import type { CallRecord } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { parseTraceparent, withTraceHeaders } from "../../schemas/trace-context.ts";
import type { CallAcceptor } from "../bus/accept-calls.ts";
import type { AcknowledgedPublisher } from "../bus/acknowledged.ts";
import { replayedCallId } from "../bus/call-ids.ts";
import type { Bus } from "../bus/connection.ts";
import type { DeadLetters, FoundLetter } from "../bus/dead-letters.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { tellAgain } from "../bus/outcomes.ts";
import type { OpenSpan } from "../runtime/spans.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { Directory } from "./directory.ts";
import type { CallFinder } from "./find-call.ts";
import { buildReplay, goneBody, noSuchFunction, replayableOf, unknownCall } from "./replay-call.ts";

/** What became of a replay. */
export interface Replayed {
  /** The call, or the dead letter, that was to be run again. */
  readonly replayOf: string;
  /** The new call; absent where an outcome is told again. */
  readonly id?: string;
}

/** How a dead letter is replayed. */
export interface LetterOptions {
  /** Absent: its own function. */
  readonly to?: FunctionName | undefined;
  /** The letter stays. */
  readonly keep: boolean;
}

/** Runs past calls again. All reject with `queue_full` or `bus_unavailable` when a call cannot be accepted now. */
export interface Replayer {
  /**
   * A new call with the request of a past one, durable or synchronous. Nobody whom the first was to tell is told of this one.
   * Rejects with `call_not_found`, `conflict` and `function_not_found`.
   */
  readonly call: (id: string, to: FunctionName | undefined) => Promise<Replayed>;
  /**
   * A new call with the request of a dead letter, with its callback; or an outcome is told again. The letter goes when the
   * new call is accepted, and by twice replaying one only one call comes of it, unless it is kept.
   */
  readonly letter: (id: string, options: LetterOptions) => Promise<Replayed>;
}

/** What replaying takes. */
export interface ReplayParts {
  readonly bus: Bus;
  readonly directory: Pick<Directory, "find">;
  readonly finder: CallFinder;
  readonly letters: DeadLetters;
  readonly acceptor: CallAcceptor;
  readonly acknowledged: AcknowledgedPublisher;
  readonly payloads: Pick<ObjectStore, "size">;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/** The error of an id that is in no dead letter. */
export const noLetter = (id: string): BuskerError =>
  new BuskerError("call_not_found", `there is no dead letter of call ${id}`);

const newId = (letter: FoundLetter, { to, keep }: LetterOptions): { readonly id?: string } =>
  keep ? {} : { id: replayedCallId(letter.record.id, letter.seq, to ?? letter.record.function) };

/** A replay is a trace of its own, with a link to what is run again: that may be days old. */
const traceReplay = (tracing: Tracing, call: DurableCall, first: string | undefined): OpenSpan => {
  const before = parseTraceparent(first);
  return tracing.begin({
    name: `replay ${formatFunctionName(call.function)}`,
    kind: "producer",
    attributes: { "faas.invocation.id": call.id, "faas.invoked_name": formatFunctionName(call.function) },
    ...(before ? { links: [before] } : {}),
  });
};

const inTrace = (call: DurableCall, { traceparent }: OpenSpan): DurableCall => ({
  ...call,
  traceparent,
  head: { ...call.head, headers: withTraceHeaders(call.head.headers, { traceparent }) },
});

/** Creates it. */
export const createReplayer = (parts: ReplayParts): Replayer => {
  const { bus, directory, finder, letters, acceptor, acknowledged, payloads, tracing } = parts;
  const assertKnown = (name: FunctionName): void => {
    if (!directory.find(formatFunctionName(name))) throw noSuchFunction(name);
  };
  const accept = async (
    call: DurableCall,
    { id: replayOf, traceparent }: Pick<CallRecord, "id" | "traceparent">,
  ): Promise<Replayed> => {
    assertKnown(call.function);
    const { name, bytes = 0 } = call.payload ?? {};
    // Both refer to it from now on; it goes when neither does.
    if (name !== undefined && (await payloads.size(name)) === undefined) throw goneBody(replayOf, bytes);
    const span = tracing && traceReplay(tracing, call, traceparent);
    try {
      return { replayOf, id: (await acceptor.accept(span ? inTrace(call, span) : call)).id };
    } finally {
      span?.end();
    }
  };
  const replayLetter = async (letter: FoundLetter, options: LetterOptions): Promise<Replayed> => {
    const replayOf = letter.record.id;
    if (letter.record.untold && options.to)
      throw new BuskerError(
        "invalid_request",
        `${replayOf} is an outcome: it can be told again, but not to a function`,
      );
    if (await tellAgain(acknowledged, bus.source, letter)) return { replayOf };
    const call = buildReplay(letter, { to: options.to, ...newId(letter, options), keepsCallback: true });
    return accept(call, letter.record);
  };
  return {
    call: async (id, to) => {
      const found = await finder.find(id);
      if (!found) throw unknownCall(id);
      const whole = replayableOf(found, id);
      return accept(buildReplay(whole, { to, keepsCallback: false }), { ...whole.record, id });
    },
    letter: async (id, options) => {
      const letter = await letters.read(id);
      if (!letter) throw noLetter(id);
      const replayed = await replayLetter(letter, options);
      if (!options.keep) await letters.remove(letter);
      return replayed;
    },
  };
};
