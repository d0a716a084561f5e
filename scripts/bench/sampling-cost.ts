import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { fixedReplicas } from "./fixed-replicas.ts";
import { load } from "./load.ts";
import { cpuByRole, processesOf } from "./paths.ts";
import { distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/*
 * What samples cost the calls that they are about: this tree, and a copy of it that counts and tells nothing, under the same
 * load in turn.
 */

const mustPercent = 1;
const root = resolve(import.meta.dirname, "../..");
const parts = [
  "schemas",
  "services",
  "watchdog",
  "scripts",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "nats.conf",
];

const silent: Readonly<Record<string, string>> = {
  "watchdog/replica-samples.ts": `
    export interface ReplicaState { readonly inFlight: () => number; readonly slots: number }
    const nothing = () => {};
    export const sampleReplica = () => ({ began: nothing, had: nothing, finished: nothing, flush: nothing, stop: nothing });
  `,
  "services/bus/caller-samples.ts": `
    export interface CallerCounts { readonly started: () => void; readonly answered: (status: number, seconds: number) => void }
    export interface CallerSamples { readonly of: (name: unknown) => CallerCounts }
    const nothing = () => {};
    const counts = { started: nothing, answered: nothing };
    export const openCallerSamples = () =>
      ({ of: () => counts, parked: nothing, forget: nothing, flush: nothing, stop: nothing });
  `,
};

/** A copy of this tree, built, that takes no samples. */
const buildSilent = (): string => {
  const tree = mkdtempSync(join(tmpdir(), "busker-silent-"));
  for (const part of parts) cpSync(join(root, part), join(tree, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  for (const [file, text] of Object.entries(silent)) writeFileSync(join(tree, file), text);
  const { status, stderr } = spawnSync(process.execPath, [join(tree, "scripts/build.mjs")], {
    cwd: tree,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`could not build without samples:\n${stderr}`);
  return tree;
};

const name = "echo";

const start = async (tree: string): Promise<TestPlatform> => {
  const platform = await startTestPlatform({}, ["--no-sample"], tree);
  const code = { "handler.mjs": "export default async (event) => event.body;" };
  const response = await platform.deploy({ name, code, envVars: { mode: "handler" }, more: fixedReplicas(1) });
  if (!response.ok) throw new Error(`could not deploy ${name}: ${await response.text()}`);
  await load(`${platform.url}/function/${name}`, 32, 2);
  return platform;
};

interface Run {
  readonly n: number;
  readonly perSecond: number;
  readonly cpuSeconds: number;
}

const run = async (platform: TestPlatform, seconds: number): Promise<Run> => {
  const pids = processesOf(platform, name);
  const sum = (): number => Object.values(cpuByRole(pids)).reduce((all, role) => all + role, 0);
  const before = sum();
  const { n, perSecond, errors } = await load(`${platform.url}/function/${name}`, 32, seconds);
  if (errors > 0) throw new Error(`${errors} calls failed`);
  return { n, perSecond, cpuSeconds: sum() - before };
};

/** CPU of a call, all runs together: the clock that counts it is coarse. */
const cpuUsOf = (runs: readonly Run[]): number =>
  (runs.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) / runs.reduce((sum, { n }) => sum + n, 0)) * 1e6;

/** Runs both in turn, `rounds` times, and prints what samples cost in the median of the rounds. */
export const benchSamplingCost = async (rounds: number, seconds: number): Promise<void> => {
  const tree = buildSilent();
  const platforms: TestPlatform[] = [];
  try {
    for (const from of [root, tree]) platforms.push(await start(from));
    const runs: (readonly [Run, Run])[] = [];
    const [sampled, unsampled] = platforms;
    if (!sampled || !unsampled) throw new Error("two are started");
    for (let round = 0; round < rounds; round += 1) {
      // Whoever comes first in a round comes second in the next.
      const first = await run(round % 2 === 0 ? sampled : unsampled, seconds);
      const second = await run(round % 2 === 0 ? unsampled : sampled, seconds);
      runs.push(round % 2 === 0 ? [first, second] : [second, first]);
    }
    const rateOf = (of: readonly Run[]): number => distribution(of.map(({ perSecond }) => perSecond)).p50;
    const [on, off] = [runs.map(([first]) => first), runs.map(([, second]) => second)];
    // By CPU: where all of it is used, calls a second follow from it, and they vary by more than what is looked for.
    const cost = (cpuUsOf(on) / cpuUsOf(off) - 1) * 100;
    const lost = distribution(runs.map(([first, second]) => (1 - first.perSecond / second.perSecond) * 100)).p50;
    printTable(
      `What samples cost synchronous calls of a handler, 32 connections, ${rounds} runs of ${seconds} s each in turn`,
      ["what", "n", "calls a second, median", "CPU per call, us", "must", "verdict"],
      [
        ["with samples", rounds, rateOf(on), cpuUsOf(on), "", ""],
        ["without", rounds, rateOf(off), cpuUsOf(off), "", ""],
        ["cost, %", rounds, lost, cost, mustPercent, judge(cost, mustPercent, mustPercent, "lower")],
      ],
    );
  } finally {
    for (const platform of platforms) await platform.stop();
    rmSync(tree, { recursive: true, force: true });
  }
};
