import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { callFilter } from "../../schemas/subjects.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import { eventually, startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { type Called, printCost } from "./cost-of.ts";
import { fixedReplicas } from "./fixed-replicas.ts";
import { load, privateMebibytes } from "./load.ts";
import { distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/*
 * Durable calls: how soon their function has them, how many are accepted and done, and what a long queue costs. A
 * comparison that runs on the same machine at the same time: the same function called synchronously.
 */

const namespace = "openfaas-fn";
const must = {
  startP50Ms: 5,
  startP99Ms: 20,
  acceptedPerSecond: 2000,
  drainedPerSecond: 1500,
  workerMebibytes: 150,
  recordedPercent: 2,
};

/** Wall clock with fractions of a millisecond, the same in every process of a machine. */
const clock = (): number => performance.timeOrigin + performance.now();

// Body: when the call was sent. What it has seen is asked for with GET.
const timing = `
let waited = [];
export default async (event) => {
  const now = performance.timeOrigin + performance.now();
  if (event.method === "GET") { const all = waited; waited = []; return JSON.stringify(all); }
  waited.push(now - Number(event.body));
  return "";
};
`;

const functions = [
  { name: "timing", code: { "handler.mjs": timing }, envVars: { mode: "handler" } },
  {
    name: "trivial",
    code: { "handler.mjs": "export default async (event) => event.body;" },
    envVars: { mode: "handler" },
  },
  {
    name: "slow",
    code: {
      "handler.mjs": "export default async () => { await new Promise((done) => setTimeout(done, 1000)); return ''; };",
    },
    envVars: { mode: "handler", max_inflight: "1" },
  },
];

const deployAll = async (platform: TestPlatform): Promise<void> => {
  for (const fn of functions) {
    const response = await platform.deploy({ ...fn, more: fixedReplicas(1) });
    if (!response.ok) throw new Error(`could not deploy ${fn.name}: ${await response.text()}`);
  }
};

/** Posts at a steady pace, and gives how long each call took until its function had it, in milliseconds. */
const benchStart = async (
  platform: TestPlatform,
  path: string,
  perSecond: number,
  seconds: number,
): Promise<number[]> => {
  const calls: Promise<void>[] = [];
  const beganMs = performance.now();
  for (let sent = 0; sent < perSecond * seconds; sent += 1) {
    await wait(Math.max(0, beganMs + (sent * 1000) / perSecond - performance.now()));
    const call = fetch(`${platform.url}${path}`, { method: "POST", body: String(clock()) });
    calls.push(
      call.then(async (response) => {
        if (!response.ok) throw new Error(`${path} answered ${response.status}`);
        await response.arrayBuffer();
      }),
    );
  }
  await Promise.all(calls);
  const seen: number[] = [];
  await eventually("every call", async () => {
    seen.push(...((await (await platform.invoke("timing")).json()) as number[]));
    return seen.length === calls.length || undefined;
  });
  return seen;
};

const startLatency = async (platform: TestPlatform, quick: boolean): Promise<void> => {
  const seconds = quick ? 3 : 20;
  await benchStart(platform, "/async-function/timing", 200, 1);
  const durable = distribution(await benchStart(platform, "/async-function/timing", 200, seconds));
  const direct = distribution(await benchStart(platform, "/function/timing", 200, seconds));
  printTable(
    "From sending to the start of the function, 200 calls a second",
    ["way", "n", "p50 ms", "p95 ms", "p99 ms", "must", "verdict"],
    [
      [
        "POST /async-function",
        durable.n,
        durable.p50,
        durable.p95,
        durable.p99,
        `p50 ${must.startP50Ms}, p99 ${must.startP99Ms}`,
        judge(durable.p50, must.startP50Ms, 2, "lower") === "TOO SLOW"
          ? "TOO SLOW"
          : judge(durable.p99, must.startP99Ms, must.startP99Ms, "lower"),
      ],
      ["POST /function, the same function", direct.n, direct.p50, direct.p95, direct.p99, "", ""],
    ],
  );
};

/** Counts what has ended well of one function, from now on. */
const countSucceeded = (bus: Bus, name: string): { readonly count: () => number; readonly stop: () => void } => {
  let count = 0;
  const subscription = bus.nc.subscribe(callFilter(namespace, name).replace("*", "succeeded"), {
    callback: () => void (count += 1),
  });
  return { count: () => count, stop: () => subscription.unsubscribe() };
};

const workerPids = (platform: TestPlatform): readonly number[] => platform.pids("services/queue-worker/main");

const signalWorkers = (platform: TestPlatform, signal: NodeJS.Signals): void => {
  for (const pid of workerPids(platform)) process.kill(pid, signal);
};

const throughput = async (platform: TestPlatform, bus: Bus, seconds: number): Promise<void> => {
  const url = `${platform.url}/async-function/trivial`;
  const done = countSucceeded(bus, "trivial");
  const both = await load(url, 32, seconds);
  await eventually("the queue to be empty", () => done.count() >= both.n || undefined, 120_000);
  const doneBefore = done.count();
  // Its workers stand still meanwhile, so that the two are measured apart.
  signalWorkers(platform, "SIGSTOP");
  const alone = await load(url, 32, seconds);
  signalWorkers(platform, "SIGCONT");
  const beganMs = performance.now();
  await eventually("the queue to be empty", () => done.count() - doneBefore >= alone.n || undefined, 120_000);
  const drained = (alone.n / (performance.now() - beganMs)) * 1000;
  done.stop();
  const direct = await load(`${platform.url}/function/trivial`, 32, seconds);
  printTable(
    "Calls of a trivial function in handler mode, 32 connections",
    ["what", "n", "per second", "errors", "must", "verdict"],
    [
      [
        "accepted, nobody draining",
        alone.n,
        alone.perSecond,
        alone.errors,
        must.acceptedPerSecond,
        judge(alone.perSecond, must.acceptedPerSecond, must.acceptedPerSecond, "higher"),
      ],
      [
        "drained, nobody sending",
        alone.n,
        drained,
        "",
        must.drainedPerSecond,
        judge(drained, must.drainedPerSecond, must.drainedPerSecond, "higher"),
      ],
      ["accepted while they are drained", both.n, both.perSecond, both.errors, "", ""],
      ["synchronous, for comparison", direct.n, direct.perSecond, direct.errors, "", ""],
    ],
  );
};

const backlog = async (platform: TestPlatform, bus: Bus, count: number): Promise<void> => {
  const url = `${platform.url}/async-function/slow`;
  const rates: number[] = [];
  let accepted = 0;
  const before = Math.max(...workerPids(platform).map(privateMebibytes));
  while (accepted < count) {
    const { n, perSecond } = await load(url, 32, 5);
    accepted += n;
    rates.push(perSecond);
  }
  const after = Math.max(...workerPids(platform).map(privateMebibytes));
  const [first = Number.NaN] = rates;
  const last = rates.at(-1) ?? Number.NaN;
  // What another function has of it.
  const done = countSucceeded(bus, "trivial");
  const beganMs = performance.now();
  await platform.invoke("trivial", { method: "POST", body: "warm" });
  await fetch(`${platform.url}/async-function/trivial`, { method: "POST", body: "hello" });
  await eventually("another function's call", () => done.count() >= 1 || undefined);
  done.stop();
  printTable(
    `A queue of ${accepted} calls of a function that does one a second`,
    ["what", "seen", "must", "verdict"],
    [
      ["accepted per second, first 5 s", first, "", ""],
      ["accepted per second, last 5 s", last, "no less", last >= first * 0.85 ? "does what it must" : "TOO SLOW"],
      ["a worker's private memory before, MiB", before, "", ""],
      [
        "a worker's private memory after, MiB",
        after,
        must.workerMebibytes,
        judge(after, must.workerMebibytes, must.workerMebibytes, "lower"),
      ],
      ["another function's call to its end, ms", performance.now() - beganMs, "", ""],
    ],
  );
};

const recording = async (platform: TestPlatform, rounds: number, seconds: number): Promise<void> => {
  const open = async (name: string, record: string): Promise<Called> => {
    const fn = { name, code: functions[1]?.code ?? {}, envVars: { mode: "handler" } };
    const annotations = { "com.busker.record": record };
    const response = await platform.deploy({ ...fn, more: { ...fixedReplicas(1), annotations } });
    if (!response.ok) throw new Error(`could not deploy ${name}: ${await response.text()}`);
    await load(`${platform.url}/function/${name}`, 32, 1);
    return { platform, name };
  };
  const called = { on: await open("recorded", "calls"), off: await open("unrecorded", "none") };
  await printCost("records", called, { rounds, seconds, mustPercent: must.recordedPercent });
};

/** Prints what durable calls do. */
export const benchDurable = async (quick: boolean): Promise<void> => {
  const platform = await startTestPlatform();
  const bus = await openBus({
    url: platform.natsUrl,
    credentialsFile: join(platform.dataFolder, "creds/admin.creds"),
    user: "admin",
    name: "bench",
  });
  try {
    await deployAll(platform);
    await startLatency(platform, quick);
    await throughput(platform, bus, quick ? 3 : 5);
    await recording(platform, quick ? 3 : 9, quick ? 2 : 4);
    await backlog(platform, bus, quick ? 10_000 : 100_000);
  } finally {
    await bus.close();
    await platform.stop();
  }
};
