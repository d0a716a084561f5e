import type { BacktestInput, BacktestResult } from "../../../schemas/backtest.ts";
import { simulate, simulationGaps } from "./simulate.ts";

// Where nobody has seen a replica start: about what a process of Node.js takes on a slow machine.
const unknownStartMs = 1000;

/** Runs one recorded load under a function's own labels, and under these with others in their places. */
export const comparePolicies = ({ spec, proposed, minutes, fromMs, untilMs }: BacktestInput): BacktestResult => {
  const measuredMs = minutes.findLast((load) => load.startMs !== undefined)?.startMs;
  const startMs = measuredMs ?? unknownStartMs;
  const given = { minutes, fromMs, untilMs, startMs };
  const other = { ...spec, labels: { ...spec.labels, ...proposed } };
  const notes = new Set([...simulationGaps(spec), ...simulationGaps(other)]);
  if (measuredMs === undefined) notes.add(`nobody has seen a replica start; taken for ${startMs} ms`);
  return {
    current: simulate({ ...given, spec }),
    proposed: simulate({ ...given, spec: other }),
    startMs,
    notes: [...notes],
  };
};
