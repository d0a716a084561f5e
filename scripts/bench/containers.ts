import { setTimeout as wait } from "node:timers/promises";
import { startTestEngine, type TestEngine } from "../../test/support/engine.ts";
import { busyboxFiles, makeImage } from "../../test/support/images.ts";
import { eventually, startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { privateMebibytes } from "./load.ts";
import { type Distribution, distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/* Functions in containers of an engine of the bench's own: how fast they come, what they cost, what an update loses. */

const image = "bench/busybox:1";
const must = { fromNothing: 350, frozen: { p50: 30, p99: 60 }, mebibytes: 12, hundredSeconds: 30 };

interface Bench {
  readonly platform: TestPlatform;
  readonly engine: TestEngine;
}

const expectOk = async (what: string, response: Response): Promise<void> => {
  if (!response.ok) throw new Error(`could not ${what}: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
};

const put = async ({ platform }: Bench, method: "POST" | "PUT", name: string, more: object): Promise<void> =>
  expectOk(`deploy ${name}`, await platform.api(method, "/system/functions", { service: name, image, ...more }));

const scale = async ({ platform }: Bench, name: string, replicas: number): Promise<void> =>
  expectOk(`scale ${name}`, await platform.api("POST", `/system/scale-function/${name}`, { replicas }));

const listContainers = ({ engine }: Bench, name: string, all: boolean) =>
  engine.docker.listContainers({ all, filters: { label: [`com.openfaas.function=${name}`] } });

/** Calls a function and gives how long its reply took, in milliseconds. */
const timeCall = async ({ platform }: Bench, name: string): Promise<number> => {
  const beganMs = performance.now();
  const response = await platform.invoke(name, { method: "POST", body: "hello" });
  if ((await response.text()) !== "hello") throw new Error(`${name} answered ${response.status}`);
  return performance.now() - beganMs;
};

/** The same image by the engine alone, with the same network: created, started, and one line heard from it. */
const timeBareContainer = async ({ engine }: Bench, network: string): Promise<number> => {
  const beganMs = performance.now();
  const container = await engine.docker.createContainer({
    Image: image,
    Cmd: ["sh", "-c", "echo hello"],
    AttachStdout: true,
    HostConfig: { NetworkMode: network, CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"], Init: true },
  });
  const output = await container.attach({ stream: true, stdout: true });
  const heard = new Promise((resolve) => output.once("data", resolve));
  await container.start();
  await heard;
  const tookMs = performance.now() - beganMs;
  await container.remove({ force: true });
  return tookMs;
};

const networkOf = async ({ engine }: Bench, name: string): Promise<string> => {
  const [container] = await listContainers({ engine } as Bench, name, false);
  const network = Object.keys(container?.NetworkSettings.Networks ?? {})[0];
  if (network === undefined) throw new Error(`${name} has no network`);
  return network;
};

const row = (what: string, { n, p50, p95, p99 }: Distribution, bound: string, verdict: string) => [
  what,
  n,
  p50,
  p95,
  p99,
  bound,
  verdict,
];

const benchStarts = async (bench: Bench, count: number): Promise<void> => {
  await put(bench, "POST", "cold", { envProcess: "cat" });
  await put(bench, "POST", "frozen", { envProcess: "cat", annotations: { "com.busker.zero": "freeze" } });
  const network = await networkOf(bench, "cold");
  const cold: number[] = [];
  const bare: number[] = [];
  const frozen: number[] = [];
  for (let round = 0; round < count; round += 1) {
    await scale(bench, "cold", 0);
    await eventually("no container is left", async () =>
      (await listContainers(bench, "cold", true)).length === 0 ? true : undefined,
    );
    cold.push(await timeCall(bench, "cold"));
    bare.push(await timeBareContainer(bench, network));
  }
  for (let round = 0; round < count * 5; round += 1) {
    await scale(bench, "frozen", 0);
    await eventually("it is frozen", async () =>
      (await listContainers(bench, "frozen", true))[0]?.State === "paused" ? true : undefined,
    );
    frozen.push(await timeCall(bench, "frozen"));
  }
  const of = { cold: distribution(cold), bare: distribution(bare), frozen: distribution(frozen) };
  const { p50, p99 } = must.frozen;
  const frozenVerdict = of.frozen.p99 <= p99 ? judge(of.frozen.p50, p50, p50, "lower") : "TOO SLOW";
  printTable(
    "First reply of a function in a container",
    ["from", "n", "p50 ms", "p95 ms", "p99 ms", "must", "verdict"],
    [
      row(
        "nothing (create to reply)",
        of.cold,
        `p50 ${must.fromNothing}`,
        judge(of.cold.p50, must.fromNothing, 300, "lower"),
      ),
      row("the engine alone (create to a line of output)", of.bare, "", ""),
      row("frozen", of.frozen, `p50 ${p50}, p99 ${p99}`, frozenVerdict),
    ],
  );
};

interface Top {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

const memoryOf = async ({ engine }: Bench, id: string): Promise<number> => {
  const { Processes } = (await engine.docker.getContainer(id).top({ ps_args: "-o pid" })) as Top;
  return Processes.reduce((sum, [pid]) => sum + privateMebibytes(Number(pid)), 0);
};

// All of them hold a call at the same time, one each, so each of them must answer its own.
const callAll = async ({ platform }: Bench, name: string, count: number): Promise<number> => {
  const bodies = await Promise.all(
    Array.from({ length: count }, async () => (await platform.invoke(name, { method: "POST" })).text()),
  );
  return new Set(bodies).size;
};

const benchHundred = async (bench: Bench, count: number): Promise<void> => {
  const envVars = { max_inflight: "1" };
  await put(bench, "POST", "many", { envProcess: "sh /hostname.sh", envVars });
  const beganMs = performance.now();
  await scale(bench, "many", count);
  await eventually(
    "all replicas are ready",
    async () => ((await bench.platform.status("many"))["availableReplicas"] === count ? true : undefined),
    180_000,
  );
  const seconds = (performance.now() - beganMs) / 1000;
  const answering = await callAll(bench, "many", count);
  await wait(5000);
  const containers = await listContainers(bench, "many", false);
  const sizes = distribution(await Promise.all(containers.map(({ Id }) => memoryOf(bench, Id))));
  await expectOk("remove many", await bench.platform.api("DELETE", "/system/functions", { functionName: "many" }));
  printTable(
    `${count} replicas of one function on one engine`,
    ["what", "seen", "must", "verdict"],
    [
      ["scale to ready, s", seconds, must.hundredSeconds, judge(seconds, must.hundredSeconds, 20, "lower")],
      ["replicas that answered a call each", answering, count, judge(answering, count, count, "higher")],
      [
        "private memory of an idle one, p50 MiB",
        sizes.p50,
        must.mebibytes,
        judge(sizes.p50, must.mebibytes, 10, "lower"),
      ],
      ["private memory of an idle one, p99 MiB", sizes.p99, "", ""],
    ],
  );
};

const callEveryMs = 5;

const benchUpdate = async (bench: Bench, updates: number): Promise<void> => {
  await put(bench, "POST", "rolling", { envProcess: "cat", labels: { "com.openfaas.scale.min": "2" } });
  const times: number[] = [];
  const faults: string[] = [];
  const calls: Promise<void>[] = [];
  const callOnce = async (): Promise<void> => {
    try {
      times.push(await timeCall(bench, "rolling"));
    } catch (error) {
      faults.push(String(error));
    }
  };
  const timer = setInterval(() => calls.push(callOnce()), callEveryMs);
  for (let update = 0; update < updates; update += 1) {
    const more = { envProcess: "cat", envVars: { UPDATE: String(update) }, labels: { "com.openfaas.scale.min": "2" } };
    await put(bench, "PUT", "rolling", more);
    await wait(3000);
  }
  clearInterval(timer);
  await Promise.all(calls);
  printTable(
    `${updates} rolling updates of 2 replicas under ${1000 / callEveryMs} calls a second`,
    ["what", "n", "p50 ms", "p95 ms", "p99 ms", "must", "verdict"],
    [
      row("calls", distribution(times), "", ""),
      [
        "calls that failed",
        faults.length,
        "",
        "",
        "",
        "0",
        faults.length === 0 ? "does what it must" : (faults[0] ?? ""),
      ],
    ],
  );
};

/** Measures containers and prints what was seen. */
export const benchContainers = async (quick: boolean): Promise<void> => {
  const engine = await startTestEngine();
  try {
    await makeImage(engine.docker, {
      name: "bench/busybox",
      files: { ...busyboxFiles, "bin/hostname": { link: "busybox" }, "hostname.sh": { text: "sleep 3; hostname\n" } },
      changes: ["CMD cat"],
    });
    const platform = await startTestPlatform({ BUSKER_BACKEND: "docker", DOCKER_HOST: `unix://${engine.socket}` });
    try {
      const bench = { platform, engine };
      await benchStarts(bench, quick ? 5 : 20);
      await benchHundred(bench, quick ? 20 : 100);
      await benchUpdate(bench, quick ? 1 : 3);
    } finally {
      await platform.stop();
    }
  } finally {
    await engine.stop();
  }
};
