import { type LoadMinute, loadLogMs, readLoadMinute } from "../../schemas/load.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { loadAnyFilter, loadSubject, parseFunctionSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { readBack } from "./read-back.ts";

const textOf = (data: Uint8Array): string => Buffer.from(data.buffer, data.byteOffset, data.length).toString("utf8");

/**
 * Reads what the log has of one function's load, in order, each minute once. Throws `bus_unavailable` when it cannot be
 * read now.
 */
export const readLoads = async (bus: Bus, { namespace, name }: FunctionName): Promise<readonly LoadMinute[]> => {
  const found = new Map<number, LoadMinute>();
  const since = new Date(Date.now() - loadLogMs);
  for await (const messages of readBack(bus, { stream: streams.LOAD, filter: loadSubject(namespace, name), since }))
    for (const { data } of messages) {
      const load = readLoadMinute(textOf(data));
      if (load) found.set(load.minute, load);
    }
  return [...found.values()].toSorted((a, b) => a.minute - b.minute);
};

/** Tells each minute of any function's load as it is written. Gives a function that stops it. */
export const followLoads = (bus: Bus, onLoad: (name: FunctionName, load: LoadMinute) => void): (() => void) => {
  const subscription = bus.nc.subscribe(loadAnyFilter, {
    callback: (error, message) => {
      const name = error ? undefined : parseFunctionSubject(message.subject, 1);
      const load = name && readLoadMinute(textOf(message.data));
      if (name && load) onLoad(name, load);
    },
  });
  return () => subscription.unsubscribe();
};
