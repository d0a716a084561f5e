import type { TestPlatform } from "../../test/support/platform.ts";
import { load } from "./load.ts";
import { cpuByRole, processesOf } from "./paths.ts";
import { distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/** A function that is called, and the platform that it is on. */
export interface Called {
  readonly platform: TestPlatform;
  readonly name: string;
}

interface Run {
  readonly n: number;
  readonly perSecond: number;
  readonly cpuSeconds: number;
}

const connections = 32;

const run = async ({ platform, name }: Called, seconds: number): Promise<Run> => {
  const pids = processesOf(platform, name);
  const sum = (): number => Object.values(cpuByRole(pids)).reduce((all, role) => all + role, 0);
  const before = sum();
  const { n, perSecond, errors } = await load(`${platform.url}/function/${name}`, connections, seconds);
  if (errors > 0) throw new Error(`${errors} calls failed`);
  return { n, perSecond, cpuSeconds: sum() - before };
};

/** CPU of a call, all runs together: the clock that counts it is coarse. */
const cpuUsOf = (runs: readonly Run[]): number =>
  (runs.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) / runs.reduce((sum, { n }) => sum + n, 0)) * 1e6;

const rateOf = (runs: readonly Run[]): number => distribution(runs.map(({ perSecond }) => perSecond)).p50;

/**
 * Calls a function with something and the same without it, in turn, and prints what it costs: by CPU, because where all of
 * it is used, calls a second follow from it, and they vary by more than what is looked for.
 */
export const printCost = async (
  what: string,
  called: { readonly on: Called; readonly off: Called },
  { rounds, seconds, mustPercent }: { readonly rounds: number; readonly seconds: number; readonly mustPercent: number },
): Promise<void> => {
  const on: Run[] = [];
  const off: Run[] = [];
  const runOn = async (): Promise<unknown> => on.push(await run(called.on, seconds));
  const runOff = async (): Promise<unknown> => off.push(await run(called.off, seconds));
  for (let round = 0; round < rounds; round += 1)
    // Whoever comes first in a round comes second in the next.
    for (const turn of round % 2 === 0 ? [runOn, runOff] : [runOff, runOn]) await turn();
  const cost = (cpuUsOf(on) / cpuUsOf(off) - 1) * 100;
  const lost = distribution(on.map(({ perSecond }, at) => (1 - perSecond / (off[at]?.perSecond ?? 0)) * 100)).p50;
  printTable(
    `What ${what} cost synchronous calls of a handler, ${connections} connections, ${rounds} runs of ${seconds} s each in turn`,
    ["what", "n", "calls a second, median", "CPU per call, us", "must", "verdict"],
    [
      [`with ${what}`, rounds, rateOf(on), cpuUsOf(on), "", ""],
      ["without", rounds, rateOf(off), cpuUsOf(off), "", ""],
      ["cost, %", rounds, lost, cost, mustPercent, judge(cost, mustPercent, mustPercent, "lower")],
    ],
  );
};
