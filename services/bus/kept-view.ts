import { BuskerError } from "../../schemas/errors.ts";
import { decodeKeptPart, type KeptPart } from "./kept-answer.ts";
import { StreamView, type Taken, type ViewParts } from "./stream-view.ts";

/** Who reads an answer that is kept in frames. Exactly one of `onEnd` and `onError` is called, and nothing after it. */
export interface KeptListener {
  /** Takes the next event as it goes to the client; false: no more before `resume`, except what is on its way. */
  readonly onEvent: (data: Uint8Array) => boolean;
  readonly onEnd: () => void;
  readonly onError: (error: BuskerError) => void;
}

/** What is to be read of an answer. */
export interface KeptViewParts extends Omit<ViewParts, "take" | "until" | "onEnd" | "onError"> {
  /** The number of the next part. */
  readonly next: number;
  /** The moment from which on an end is not waited for any more; absent: somebody else says so, by `lose`. */
  readonly endMs?: number;
  /** Parts of which it is false are passed over: they are of another answer under the same subject. */
  readonly isOwn?: (headers: string) => boolean;
  readonly listener: KeptListener;
}

const decode = (headers: string, data: Uint8Array): KeptPart | BuskerError => {
  try {
    return decodeKeptPart(headers, data);
  } catch (error) {
    return error as BuskerError;
  }
};

/** Reads an answer that is kept in frames: every part once and by its number, or an error. */
export const openKeptView = ({ next, endMs, isOwn, listener, ...parts }: KeptViewParts): StreamView => {
  let due = next;
  const take = (data: Uint8Array, headers: string, isFirst: boolean): Taken => {
    if (isOwn?.(headers) === false) return "more";
    const part = decode(headers, data);
    if (part instanceof BuskerError) return part;
    if (part.number > due) return isFirst ? tooLate(due, part.number) : "missing";
    if (part.number < due) return "more";
    due += 1;
    if (part.kind === "end") return "end";
    if (part.kind === "abort") return part.error;
    return listener.onEvent(part.data) ? "more" : "hold";
  };
  return new StreamView({
    ...parts,
    ...(endMs === undefined ? {} : { until: { ms: endMs, overdue } }),
    take,
    onEnd: listener.onEnd,
    onError: listener.onError,
  });
};

const overdue = new BuskerError("deadline_exceeded", "the kept answer has no end, and its call's deadline is over");

const tooLate = (due: number, got: number): BuskerError =>
  new BuskerError("stream_gone", `part ${due} of the kept answer is gone, part ${got} is the oldest that is kept`);
