import { setTimeout as wait } from "node:timers/promises";
import { eventually, startTestPlatform, type TestFunction, type TestPlatform } from "../../test/support/platform.ts";
import { distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/* What becomes of calls while replicas come and go, and how long the first of them takes. */

const longMs = 120_000;

const handler = `
export default async (event) => {
  const ms = Number(event.query?.ms ?? 0);
  if (ms > 0) await new Promise((done) => setTimeout(done, ms));
  return "ok";
};
`;

const deploy = async (
  platform: TestPlatform,
  fn: TestFunction,
  labels: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>> = {},
): Promise<void> => {
  const scale = Object.fromEntries(Object.entries(labels).map(([key, value]) => [`com.openfaas.scale.${key}`, value]));
  const response = await platform.deploy({ ...fn, more: { labels: scale, annotations } });
  if (!response.ok) throw new Error(`could not deploy ${fn.name}: ${await response.text()}`);
};

/** Calls that were made, and what failed of them. */
interface Calls {
  made: number;
  readonly faults: string[];
}

const call = async (platform: TestPlatform, path: string, calls: Calls): Promise<void> => {
  calls.made += 1;
  try {
    const response = await platform.invoke(path);
    const text = await response.text();
    if (text !== "ok") calls.faults.push(`${response.status} ${text}`);
  } catch (error) {
    calls.faults.push(String(error));
  }
};

/** Clients that call one after the other, with pauses between, until they are stopped. */
const load = (act: () => Promise<void>, clients: number, pauseMs = () => 0): (() => Promise<void>) => {
  let isOver = false;
  const client = async (): Promise<void> => {
    while (!isOver) {
      await act();
      const ms = pauseMs();
      if (ms > 0) await wait(ms);
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  return async () => {
    isOver = true;
    await all;
  };
};

const untilCount = (platform: TestPlatform, name: string, key: "replicas" | "availableReplicas", wanted: number) =>
  eventually(
    `${wanted} ${key} of ${name}`,
    async () => (Number((await platform.status(name))[key] ?? 0) === wanted ? true : undefined),
    longMs,
  );

/** From 1 to 20 replicas and back, so often: by the calls there are alone, so that no average has to run out. */
const riseAndFall = async (platform: TestPlatform, times: number): Promise<Calls> => {
  const calls: Calls = { made: 0, faults: [] };
  const fn = { name: "tide", code: { "handler.mjs": handler }, envVars: { mode: "handler", max_inflight: "1" } };
  await deploy(platform, fn, { type: "queue", max: "20", "down.window": "1s" });
  const stopSteady = load(() => call(platform, "tide?ms=20", calls), 1);
  for (let at = 0; at < times; at += 1) {
    const stopFlood = load(() => call(platform, "tide?ms=300", calls), 30);
    await untilCount(platform, "tide", "availableReplicas", 20);
    await stopFlood();
    await untilCount(platform, "tide", "availableReplicas", 1);
  }
  await stopSteady();
  return calls;
};

/** To zero and back, so often, by itself; calls come at any moment of it. */
const sleepAndWake = async (platform: TestPlatform, zero: "freeze" | "stop", times: number): Promise<Calls> => {
  const calls: Calls = { made: 0, faults: [] };
  const name = `nap-${zero}`;
  const fn = { name, code: { "handler.mjs": handler }, envVars: { mode: "handler" } };
  await deploy(platform, fn, { zero: "true", "zero-duration": "1s" }, { "com.busker.zero": zero });
  let pauseMs = (): number => 500 + Math.random() * 2500;
  const stop = load(
    () => call(platform, name, calls),
    1,
    () => pauseMs(),
  );
  for (let trip = 0; trip < times; trip += 1) {
    // It is called from time to time, until it sleeps; then by many at a time.
    await untilCount(platform, name, "replicas", 0);
    await Promise.all(Array.from({ length: 20 }, () => call(platform, name, calls)));
  }
  pauseMs = () => 0;
  await stop();
  return calls;
};

/** Prints how many calls fail while replicas rise and fall and sleep and wake. */
export const benchTrips = async (times: number): Promise<void> => {
  const platform = await startTestPlatform();
  try {
    const tide = await riseAndFall(platform, times);
    const [freeze, stop] = await Promise.all([
      sleepAndWake(platform, "freeze", times),
      sleepAndWake(platform, "stop", times),
    ]);
    const row = (what: string, { made, faults }: Calls): readonly (string | number)[] => [
      what,
      made,
      faults.length,
      0,
      faults.length === 0 ? "does what it must" : `FAILED: ${faults[0]}`,
    ];
    printTable(
      "Calls over HTTP while replicas come and go",
      ["what", "calls", "failed", "must", "verdict"],
      [
        row(`${times} rises and falls between 1 and 20 replicas`, tide),
        row(`${times} trips to zero and back, frozen`, freeze),
        row(`${times} trips to zero and back, stopped`, stop),
      ],
    );
  } finally {
    await platform.stop();
  }
};

const must = { freeze: 60, stop: 200 } as const;

/** Takes a function to zero and calls it, so often; gives how long each first reply took, in milliseconds. */
const firstReplies = async (platform: TestPlatform, zero: keyof typeof must, count: number): Promise<number[]> => {
  const name = `first-${zero}`;
  const fn = { name, code: { "handler.mjs": handler }, envVars: { mode: "handler" } };
  await deploy(platform, fn, {}, { "com.busker.zero": zero });
  const times: number[] = [];
  for (let round = 0; round < count; round += 1) {
    await platform.api("POST", `/system/scale-function/${name}`, { serviceName: name, replicas: 0 });
    await eventually(`${name} at zero`, async () => {
      const states = ((await platform.status(name))["replicaStates"] ?? []) as readonly { readonly state: string }[];
      const isThere = zero === "stop" ? states.length === 0 : states.length === 1 && states[0]?.state === "frozen";
      return isThere ? true : undefined;
    });
    const startMs = performance.now();
    const response = await platform.invoke(name);
    if ((await response.text()) !== "ok") throw new Error(`${name} answered ${response.status}`);
    times.push(performance.now() - startMs);
  }
  return times;
};

/** Prints how long the first reply takes of a function that is frozen, one that is stopped, and for comparison one that is awake. */
export const benchFirstReplies = async (count: number): Promise<void> => {
  const platform = await startTestPlatform();
  try {
    const rows: (string | number)[][] = [];
    for (const zero of ["freeze", "stop"] as const) {
      const { n, p50, p95, p99 } = distribution(
        await firstReplies(platform, zero, zero === "stop" ? Math.ceil(count / 4) : count),
      );
      rows.push([
        `${zero === "stop" ? "stopped" : "frozen"}, handler`,
        n,
        p50,
        p95,
        p99,
        must[zero],
        judge(p99, must[zero], must[zero], "lower"),
      ]);
    }
    const awake: number[] = [];
    while (awake.length < count) {
      const startMs = performance.now();
      await (await platform.invoke("first-freeze")).text();
      awake.push(performance.now() - startMs);
    }
    const { n, p50, p95, p99 } = distribution(awake);
    rows.push(["awake", n, p50, p95, p99, "", ""]);
    printTable("First reply", ["function", "n", "p50 ms", "p95 ms", "p99 ms", "must", "verdict"], rows);
  } finally {
    await platform.stop();
  }
};
