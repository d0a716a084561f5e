import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { ScaleWish } from "../../schemas/events.ts";
import { functionVerbFilter, parseFunctionSubject, replicaAnyFilter } from "../../schemas/subjects.ts";
import { openBus } from "../../services/bus/connection.ts";
import { readEvent } from "../../services/bus/events.ts";
import { startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/*
 * The load of a function doubles from one moment to the next, so that it needs twice its replicas: how long until they are
 * wished for, and until they are ready. For comparison, at the same time and of the same load: what a poll of the gateway's
 * metrics every ten seconds would have wished for by the same formula, as autoscalers that poll do.
 */

const mustMs = 2000;
const pollEveryMs = 10_000;
/** Calls a second of one replica, and what a function gets before and after its step. */
const target = 5;
const before = 4;
const after = 8;
// Averages are full, and replicas have been seen long enough.
const warmUpMs = 13_000;
// The start of one replica is over before the next: several at a time would measure the machine.
const betweenStepsMs = 2500;
const watchMs = 13_000;

const modes = [
  {
    mode: "handler",
    code: { "handler.mjs": "export default () => 'ok';" },
    envVars: { mode: "handler" },
  },
  {
    mode: "http",
    code: {
      "server.mjs":
        'import { createServer } from "node:http"; createServer((_, response) => response.end("ok")).listen(Number(process.env.PORT), "127.0.0.1");',
    },
    envVars: { mode: "http", fprocess: "node server.mjs" },
  },
] as const;

/** One function, and when its load doubled and what followed; milliseconds of one clock. */
interface Step {
  readonly name: string;
  readonly mode: string;
  perSecond: number;
  doubledMs: number;
  /** It had more than one replica before its load doubled: a burst of the bench's own. */
  isEarly?: boolean;
  wishedMs?: number;
  readyMs?: number;
  polledMs?: number;
}

const deployAll = async (platform: TestPlatform, perMode: number): Promise<readonly Step[]> => {
  const labels = { "com.openfaas.scale.target": String(target), "com.openfaas.scale.target-proportion": "1" };
  const steps = modes.flatMap((fn) =>
    Array.from({ length: perMode }, (_, at) => ({ ...fn, name: `${fn.mode}-${at}`, more: { labels } })),
  );
  for (const { name, code, envVars, more } of steps) {
    const response = await platform.deploy({ name, code, envVars, more });
    if (!response.ok) throw new Error(`could not deploy ${name}: ${await response.text()}`);
  }
  return steps.map(({ name, mode }) => ({
    name,
    mode,
    perSecond: before,
    doubledMs: Number.POSITIVE_INFINITY,
  }));
};

/** Calls a function at its pace until it is stopped; gives what failed. */
const drive = (platform: TestPlatform, step: Step): (() => Promise<readonly string[]>) => {
  const faults: string[] = [];
  const calls: Promise<void>[] = [];
  let isOver = false;
  const call = async (): Promise<void> => {
    const response = await platform.invoke(step.name, { method: "POST", body: "ok" });
    if ((await response.text()) !== "ok") faults.push(`${step.name} answered ${response.status}`);
  };
  const loop = (async () => {
    let nextMs = performance.now();
    while (!isOver) {
      calls.push(call().catch((error: unknown) => void faults.push(`${step.name}: ${String(error)}`)));
      nextMs += 1000 / step.perSecond;
      await wait(Math.max(0, nextMs - performance.now()));
    }
  })();
  return async () => {
    isOver = true;
    await loop;
    await Promise.all(calls);
    return faults;
  };
};

/** Notes when replicas are wished for and ready. */
const watchBus = async (platform: TestPlatform, steps: readonly Step[]): Promise<() => Promise<void>> => {
  const bus = await openBus({
    url: platform.natsUrl,
    credentialsFile: join(platform.dataFolder, "creds/admin.creds"),
    user: "admin",
    name: "bench",
  });
  const find = (subject: string): Step | undefined => {
    const name = parseFunctionSubject(subject, 2)?.name ?? subject.split(".")[4];
    return steps.find((one) => one.name === name);
  };
  const isDoubled = (step: Step): boolean => performance.now() >= step.doubledMs;
  bus.nc.subscribe(functionVerbFilter("scale"), {
    callback: (_, message) => {
      const step = find(message.subject);
      const { replicas } = readEvent<"io.busker.function.scale">(message).data as ScaleWish;
      if (!step || replicas < 2) return;
      if (isDoubled(step)) step.wishedMs ??= performance.now();
      else step.isEarly = true;
    },
  });
  bus.nc.subscribe(replicaAnyFilter.replace("*", "ready"), {
    callback: (_, message) => {
      const step = find(message.subject);
      if (step && isDoubled(step)) step.readyMs ??= performance.now();
    },
  });
  await bus.nc.flush();
  return bus.close;
};

const startedOf = async (platform: TestPlatform): Promise<ReadonlyMap<string, number>> => {
  const text = await (await fetch(platform.metricsUrl)).text();
  const lines = text.matchAll(/^gateway_function_invocation_started\{function_name="([^".]+)\.[^"]*"\} (\d+)/gm);
  return new Map([...lines].map(([, name = "", count]) => [name, Number(count)]));
};

/** Polls as an autoscaler does that polls, and notes when it would have wished for more. */
const poll = (platform: TestPlatform, steps: readonly Step[]): (() => void) => {
  let seen: { readonly atMs: number; readonly started: ReadonlyMap<string, number> } | undefined;
  const look = async (): Promise<void> => {
    const started = await startedOf(platform);
    const atMs = performance.now();
    const last = seen;
    seen = { atMs, started };
    if (!last) return;
    for (const step of steps) {
      const count = (started.get(step.name) ?? 0) - (last.started.get(step.name) ?? 0);
      const rate = count / ((atMs - last.atMs) / 1000);
      if (atMs >= step.doubledMs && Math.ceil(rate / target) >= 2) step.polledMs ??= atMs;
    }
  };
  void look();
  const timer = setInterval(() => void look(), pollEveryMs);
  return () => clearInterval(timer);
};

const rowOf = (what: string, times: readonly (number | undefined)[], must?: number): (string | number)[] => {
  const known = times.filter((time) => time !== undefined);
  const { n, p50, p95, p99 } = distribution(known);
  const missing = times.length - known.length;
  const verdict = must === undefined ? "" : missing > 0 ? `${missing} NEVER CAME` : judge(p99, must, must, "lower");
  return [what, n, p50, p95, p99, must ?? "", verdict];
};

/** Doubles the load of `perMode` functions of each mode, one after the other, and prints how soon replicas followed. */
export const benchSteps = async (perMode: number): Promise<void> => {
  const platform = await startTestPlatform();
  try {
    const steps = await deployAll(platform, perMode);
    const close = await watchBus(platform, steps);
    const stops = steps.map((step) => drive(platform, step));
    await wait(warmUpMs);
    const stopPolling = poll(platform, steps);
    // The poll must have seen what was before.
    await wait(pollEveryMs / 2);
    for (const step of steps) {
      step.doubledMs = performance.now();
      step.perSecond = after;
      await wait(betweenStepsMs);
    }
    await wait(watchMs);
    stopPolling();
    const faults = (await Promise.all(stops.map((stop) => stop()))).flat();
    await close();
    const since = (step: Step, atMs: number | undefined): number | undefined => atMs && atMs - step.doubledMs;
    printTable(
      `Load doubles from ${before} to ${after} calls a second at a target of ${target}: until a second replica`,
      ["what", "n", "p50 ms", "p95 ms", "p99 ms", "must", "verdict"],
      [
        ...modes.flatMap(({ mode }) => {
          const own = steps.filter((step) => step.mode === mode && !step.isEarly);
          return [
            rowOf(
              `${mode}: is wished for`,
              own.map((step) => since(step, step.wishedMs)),
            ),
            rowOf(
              `${mode}: is ready`,
              own.map((step) => since(step, step.readyMs)),
              mustMs,
            ),
          ];
        }),
        rowOf(
          `a poll every ${pollEveryMs / 1000} s would have wished for it`,
          steps.map((step) => since(step, step.polledMs)),
        ),
      ],
    );
    const early = steps.filter(({ isEarly }) => isEarly).map(({ name }) => name);
    if (early.length > 0) console.log(`\nleft out, with two replicas before their load doubled: ${early.join(", ")}`);
    console.log(`\n${faults.length} calls failed${faults.length > 0 ? `: ${faults[0]}` : ""}`);
  } finally {
    await platform.stop();
  }
};
