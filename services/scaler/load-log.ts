import type { LoadMinute } from "../../schemas/load.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import { loadSubject } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { publishDurably } from "../bus/streams.ts";
import { describeError, type Log } from "../runtime/log.ts";

/** Writes minutes of load into the log. */
export interface LoadLog {
  /** Takes a minute that has ended. */
  readonly take: (name: FunctionName, load: LoadMinute) => void;
  /** A minute was seen in the log, whoever has written it. */
  readonly seen: (name: FunctionName, minute: number) => void;
  /** Writes what is not in the log yet, if this scaler is to do so; resolves when it was tried. */
  readonly flush: (isActive: boolean) => Promise<void>;
}

/** How a minute comes into the log: whole by then, or rejected. */
type Write = (name: FunctionName, load: LoadMinute, id: string) => Promise<unknown>;

// Longer than another scaler takes over; after it whoever is active has written them, or nobody was.
const keptMinutes = 5;

const idOf = (name: FunctionName, minute: number): string => `load.${formatFunctionName(name)}.${minute}`;

interface Waiting {
  readonly name: FunctionName;
  readonly load: LoadMinute;
}

/**
 * Every scaler sums up the minutes, the active one writes them. They are kept until they are seen in the log, so that those
 * which its predecessor could not write any more are written by the next; written twice, one of them is swallowed by
 * its id: the function and the minute.
 */
export const createLoadLog = (write: Write, log: Pick<Log, "warn">): LoadLog => {
  const waiting = new Map<string, Waiting>();
  let flushing = false;
  const send = async (id: string, { name, load }: Waiting): Promise<void> => {
    await write(name, load, id);
    waiting.delete(id);
  };
  const sendAll = async (): Promise<void> => {
    const results = await Promise.allSettled([...waiting].map(([id, one]) => send(id, one)));
    const failed = results.filter((result) => result.status === "rejected");
    const [first] = failed;
    if (first)
      log.warn("could not write loads; trying again", { count: failed.length, error: describeError(first.reason) });
  };
  return {
    take: (name, load) => {
      waiting.set(idOf(name, load.minute), { name, load });
      for (const [id, one] of waiting) if (one.load.minute < load.minute - keptMinutes) waiting.delete(id);
    },
    seen: (name, minute) => void waiting.delete(idOf(name, minute)),
    flush: async (isActive) => {
      if (!isActive || flushing || waiting.size === 0) return;
      flushing = true;
      await sendAll();
      flushing = false;
    },
  };
};

/** Writes minutes into stream LOAD. */
export const writeLoad =
  (bus: Bus): Write =>
  ({ namespace, name }, load, id) =>
    publishDurably(bus, { subject: loadSubject(namespace, name), type: "io.busker.load", data: load, id });
