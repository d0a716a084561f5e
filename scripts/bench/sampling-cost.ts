import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { type Called, printCost } from "./cost-of.ts";
import { fixedReplicas } from "./fixed-replicas.ts";
import { load } from "./load.ts";

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
    export interface CallerCounts {
      readonly started: () => void;
      readonly answered: (status: number, seconds: number) => void;
      readonly accepted: () => void;
    }
    export interface CallerSamples { readonly of: (name: unknown) => CallerCounts }
    const nothing = () => {};
    const counts = { started: nothing, answered: nothing, accepted: nothing };
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

/** Runs both in turn, `rounds` times, and prints what samples cost. */
export const benchSamplingCost = async (rounds: number, seconds: number): Promise<void> => {
  const tree = buildSilent();
  const platforms: TestPlatform[] = [];
  const open = async (from: string): Promise<Called> => {
    const platform = await start(from);
    platforms.push(platform);
    return { platform, name };
  };
  try {
    const called = { on: await open(root), off: await open(tree) };
    await printCost("samples", called, { rounds, seconds, mustPercent });
  } finally {
    for (const platform of platforms) await platform.stop();
    rmSync(tree, { recursive: true, force: true });
  }
};
