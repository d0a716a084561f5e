import { setTimeout as wait } from "node:timers/promises";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import { emptyHistogram, observe } from "../../schemas/histogram.ts";
import type { SampleData, SampleType } from "../../schemas/sample.ts";
import { metricSubject } from "../../schemas/subjects.ts";
import { buckets } from "../../schemas/topology.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import { publishEvent } from "../../services/bus/events.ts";
import { openBucket } from "../../services/bus/kv.ts";
import { ensureTopology } from "../../services/bus/topology.ts";
import { startTestGateway } from "../../test/support/gateway.ts";
import { startTestNats } from "../../test/support/nats.ts";
import { startTestScaler } from "../../test/support/scaler.ts";
import { cpuSeconds } from "./load.ts";
import { judge, printTable } from "./table.ts";

/*
 * What following costs: a real scaler and a real gateway on a real server, and the samples of many functions with five
 * replicas each, that are called ten times a second each through one gateway. Nobody carries out what is wished.
 */

const namespace = "openfaas-fn";
const replicasEach = 5;
const callsEach = 10;
const mustPercent = 20;

const nameOf = (at: number): string => `f${at}`;
const replicaOf = (name: string, at: number): string => `${name}-r${at}`;

const writeFunctions = async (bus: Bus, count: number): Promise<void> => {
  const functions = await openBucket<FunctionRecord>(bus, buckets.functions);
  const status = await openBucket<FunctionStatusRecord>(bus, buckets.status);
  const at = new Date().toISOString();
  const ids = (name: string): readonly string[] => Array.from({ length: replicasEach }, (_, n) => replicaOf(name, n));
  const write = async (name: string): Promise<void> => {
    await functions.put(`${name}.${namespace}`, {
      spec: { name, namespace, image: "i", labels: { "com.openfaas.scale.zero": "true" } },
      replicas: replicasEach,
      scaledBecause: "up",
      revision: "r",
      createdAt: at,
      updatedAt: at,
    });
    await status.put(`${name}.${namespace}`, {
      replicas: ids(name).map((id) => ({ id, state: "ready", revision: "r", since: at })),
    });
  };
  for (let first = 0; first < count; first += 100)
    await Promise.all(Array.from({ length: Math.min(100, count - first) }, (_, n) => write(nameOf(first + n))));
};

const durations = (count: number) => {
  const histogram = emptyHistogram();
  for (let call = 0; call < count; call += 1) observe(histogram, 0.004);
  return histogram;
};

/** Tells a second of samples after the other, each spread over its second, until it is stopped. */
const tellSamples = (bus: Bus, functions: number): (() => void) => {
  const head = { start: "bench", seconds: 1 };
  const perReplica = callsEach / replicasEach;
  const publish = <T extends SampleType>(name: string, source: string, type: T, data: SampleData[T]): void =>
    void publishEvent(bus, { subject: metricSubject(namespace, name, source), type, data: data as never });
  const ofReplica = {
    ...head,
    started: perReplica,
    finished: { "200": perReplica },
    durations: durations(perReplica),
    waits: durations(perReplica),
    inFlight: 1,
    slots: 0,
    cpuSeconds: 0.01,
    memoryBytes: 3e7,
  };
  const ofCaller = {
    ...head,
    waiting: 0,
    oldestWaitMs: 0,
    inFlight: 1,
    started: callsEach,
    answered: { "200": durations(callsEach) },
  };
  const tell = (name: string, n: number): void => {
    for (let at = 0; at < replicasEach; at += 1)
      publish(name, replicaOf(name, at), "io.busker.metric", { ...ofReplica, n });
    publish(name, "gateway-bench", "io.busker.metric.caller", { ...ofCaller, n });
  };
  const startMs = performance.now();
  let told = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startMs) / 1000) * functions;
    for (; told < due; told += 1) tell(nameOf(told % functions), Math.floor(told / functions) + 1);
  }, 10);
  return () => clearInterval(timer);
};

/** Percent of a core that each process uses over some seconds. */
const measure = async (pids: Readonly<Record<string, number>>, seconds: number): Promise<Record<string, number>> => {
  const used = (): readonly number[] => Object.values(pids).map(cpuSeconds);
  const [startMs, before] = [performance.now(), used()];
  await wait(seconds * 1000);
  const after = used();
  const tookSeconds = (performance.now() - startMs) / 1000;
  return Object.fromEntries(
    Object.keys(pids).map((name, at) => [name, (((after[at] ?? 0) - (before[at] ?? 0)) / tookSeconds) * 100]),
  );
};

/** What `startTestGateway` and the gateway itself look for in a data folder. */
const preparePassword = async (dataFolder: string): Promise<void> => {
  await mkdir(join(dataFolder, "secrets"), { recursive: true });
  await writeFile(join(dataFolder, "secrets/basic-auth-user"), "admin");
  await writeFile(join(dataFolder, "secrets/basic-auth-password"), "bench");
};

/** Measures it and prints what was seen. */
export const benchManyFunctions = async (size: {
  readonly functions: number;
  readonly seconds: number;
}): Promise<void> => {
  const nats = await startTestNats();
  const bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "bench" });
  const stops: (() => unknown)[] = [nats.stop, bus.close];
  try {
    await ensureTopology(bus);
    await preparePassword(nats.dataFolder);
    await writeFunctions(bus, size.functions);
    const scaler = await startTestScaler({ natsUrl: nats.url, credentialsFile: nats.credsFile("scaler") });
    stops.push(scaler.stop);
    const gateway = await startTestGateway({ dataFolder: nats.dataFolder, natsUrl: nats.url });
    stops.push(gateway.stop);
    const pids = { scaler: scaler.process.pid ?? 0, gateway: gateway.process.pid ?? 0 };
    await wait(2000);
    const idle = await measure(pids, Math.min(5, size.seconds));
    stops.push(tellSamples(bus, size.functions));
    // Windows fill.
    await wait(3000);
    const busy = await measure(pids, size.seconds);
    const taken = /busker_scaler_samples_total\{result="taken"\} (\d+)/.exec(await scaler.metrics())?.[1];
    printTable(
      `CPU at ${size.functions} functions, ${size.functions * replicasEach} replicas, ${size.functions * (replicasEach + 1)} samples a second, % of a core`,
      ["process", "without samples", "with them", "must", "verdict"],
      [
        [
          "scaler",
          idle["scaler"] ?? 0,
          busy["scaler"] ?? 0,
          mustPercent,
          judge(busy["scaler"] ?? 0, mustPercent, mustPercent, "lower"),
        ],
        ["gateway, which adds them up", idle["gateway"] ?? 0, busy["gateway"] ?? 0, "", ""],
      ],
    );
    console.log(`\nthe scaler took ${taken} samples`);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
};
