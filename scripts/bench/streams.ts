import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { type IncomingMessage, request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { fixedReplicas } from "./fixed-replicas.ts";
import { cpuSeconds, load, privateMebibytes } from "./load.ts";
import { distribution } from "./statistics.ts";
import { startBareFunction, streamFunction } from "./stream-function.ts";
import { judge, printTable } from "./table.ts";

/*
 * Bodies that do not fit a message (design §3): throughput against the same program without the platform, many uploads
 * at once, idle streams, the time of one event and of a client's leaving, and echoes compared byte for byte.
 */

const run = promisify(execFile);
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const megabyte = 1_000_000;
const mebibyte = 1024 * 1024;

const processesOf = (platform: TestPlatform): Readonly<Record<string, readonly number[]>> => ({
  gateway: platform.pids("services/gateway/main"),
  "nats-server": platform.pids("nats.conf"),
  watchdog: platform.pids(`watchdog.mjs ${platform.dataFolder}/replicas/streams-`),
});

const sumOf = (pids: readonly number[], of: (pid: number) => number): number =>
  pids.reduce((sum, pid) => sum + of(pid), 0);

const mapProcesses = (platform: TestPlatform, of: (pid: number) => number): Record<string, number> =>
  Object.fromEntries(Object.entries(processesOf(platform)).map(([role, pids]) => [role, sumOf(pids, of)]));

const curl = async (...args: readonly string[]): Promise<string> =>
  (await run("curl", ["-sS", "-f", "-o", "/dev/null", "-H", "Expect:", ...args])).stdout;

/** Megabytes per second of one body. */
const transfers: Readonly<Record<string, (base: string, bytes: number, file: string) => Promise<number>>> = {
  download: async (base, bytes) =>
    Number(await curl("-w", "%{speed_download}", `${base}/down?bytes=${bytes}`)) / megabyte,
  upload: async (base, _, file) =>
    Number(await curl("-w", "%{speed_upload}", "-X", "POST", "-T", file, `${base}/up`)) / megabyte,
};

const benchThroughput = async (
  platform: TestPlatform,
  bareUrl: string,
  bytes: number,
  rounds: number,
): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-bench-"));
  const file = join(folder, "zeros");
  await writeFile(file, "");
  await truncate(file, bytes);
  const rows: (string | number)[][] = [];
  for (const [name, transfer] of Object.entries(transfers)) {
    const direct: number[] = [];
    const through: number[] = [];
    const before = mapProcesses(platform, cpuSeconds);
    for (let round = 0; round < rounds; round += 1) {
      direct.push(await transfer(bareUrl, bytes, file));
      through.push(await transfer(`${platform.url}/function/streams`, bytes, file));
    }
    const after = mapProcesses(platform, cpuSeconds);
    const cpu = Object.keys(after).map((role) => (((after[role] ?? 0) - (before[role] ?? 0)) * 1e9) / (bytes * rounds));
    const must = Math.min(300, 0.5 * median(direct));
    rows.push([
      name,
      rounds,
      median(direct),
      median(through),
      ...cpu,
      must,
      judge(median(through), must, must, "higher"),
    ]);
  }
  // By itself, because looking at memory takes a part of the processors.
  const memory = watchMemory(platform);
  for (const transfer of Object.values(transfers)) await transfer(`${platform.url}/function/streams`, bytes, file);
  const most = memory.stop();
  await rm(folder, { recursive: true });
  printTable(
    `One body of ${(bytes / megabyte).toFixed(0)} MB: medians; CPU in milliseconds per MB`,
    ["what", "n", "direct MB/s", "MB/s", "gateway", "nats-server", "watchdog", "must MB/s", "verdict"],
    rows,
  );
  const sizes = Object.entries(most).map(([role, size]) => `${role} ${size.toFixed(0)}`);
  console.log(`\nMost memory above idle meanwhile, in MiB: ${sizes.join(", ")} (must stay below 100 each)`);
};

/** Starts a request and gives its response. */
const open = async (url: string, body?: Iterable<Uint8Array>): Promise<IncomingMessage> => {
  const request = httpRequest(url, { method: body ? "POST" : "GET", agent: false });
  const answered = once(request, "response") as Promise<[IncomingMessage]>;
  for (const chunk of body ?? []) if (!request.write(chunk)) await Promise.race([once(request, "drain"), answered]);
  request.end();
  const [response] = await answered;
  response.on("error", () => {});
  return response;
};

const readAll = async (response: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

/** Takes what each process has at most beyond what it has now, in MiB, until it is stopped. */
const watchMemory = (platform: TestPlatform): { readonly stop: () => Readonly<Record<string, number>> } => {
  const before = mapProcesses(platform, privateMebibytes);
  const most: Record<string, number> = {};
  const timer = setInterval(() => {
    for (const [role, size] of Object.entries(mapProcesses(platform, privateMebibytes)))
      most[role] = Math.max(most[role] ?? 0, size - (before[role] ?? 0));
  }, 100);
  return {
    stop: () => {
      clearInterval(timer);
      return most;
    },
  };
};

const benchUploads = async (platform: TestPlatform, count: number): Promise<void> => {
  const piece = Buffer.alloc(100_000, "u");
  const pieces = Array.from({ length: 100 }, () => piece);
  const memory = watchMemory(platform);
  const startMs = performance.now();
  const answers = await Promise.allSettled(
    Array.from({ length: count }, async () =>
      (await readAll(await open(`${platform.url}/function/streams/up`, pieces))).toString(),
    ),
  );
  const most = memory.stop();
  const good = answers.filter((answer) => answer.status === "fulfilled" && answer.value === "10000000").length;
  printTable(
    `${count} uploads of 10 MB at once; memory above idle, in MiB`,
    ["uploads", "complete", "seconds", "gateway", "nats-server", "watchdog", "verdict"],
    [
      [
        count,
        good,
        (performance.now() - startMs) / 1000,
        ...["gateway", "nats-server", "watchdog"].map((role) => most[role] ?? 0),
        good === count ? "none failed" : "SOME FAILED",
      ],
    ],
  );
};

const openWebSocket = async (url: string): Promise<Socket> => {
  const request = httpRequest(url, {
    agent: false,
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
    },
  });
  request.end();
  const [response, socket] = (await once(request, "upgrade")) as [IncomingMessage, Socket];
  if (response.statusCode !== 101) throw new Error(`the upgrade was answered with ${response.statusCode}`);
  return socket;
};

const idleKinds: Readonly<Record<string, (url: string) => Promise<() => void>>> = {
  "server-sent events": async (url) => {
    const response = await open(`${url}/idle`);
    response.resume();
    return () => void response.destroy();
  },
  WebSockets: async (url) => {
    const socket = await openWebSocket(`${url}/socket`);
    return () => void socket.destroy();
  },
};

const openIdle = async (count: number, openOne: () => Promise<() => void>): Promise<(() => void)[]> => {
  const all: (() => void)[] = [];
  for (let at = 0; at < count; at += 50) all.push(...(await Promise.all(Array.from({ length: 50 }, openOne))));
  await wait(5000);
  return all;
};

/** On a platform of its own for each kind, because memory that was given back inside a process is used again. */
const benchIdle = async (count: number): Promise<void> => {
  const rows: (string | number)[][] = [];
  for (const [name, openOne] of Object.entries(idleKinds))
    await withStreams(async (platform) => {
      const url = `${platform.url}/function/streams`;
      // A process that has worked has a heap of some size already; that is not the cost of one more stream.
      await load(`${url}/up`, 32, 5);
      const warm = await openIdle(100, () => openOne(url));
      const before = mapProcesses(platform, privateMebibytes);
      const all = await openIdle(count, () => openOne(url));
      const after = mapProcesses(platform, privateMebibytes);
      const each = Object.keys(after).map((role) => (((after[role] ?? 0) - (before[role] ?? 0)) * 1024) / count);
      rows.push([name, count, ...each, 30, judge(each[0] ?? Number.NaN, 30, 30, "lower")]);
      for (const close of [...warm, ...all]) close();
    });
  printTable(
    "Idle streams, KiB each",
    ["what", "n", "gateway", "nats-server", "watchdog", "gateway must", "verdict"],
    rows,
  );
};

const wallMs = (): number => performance.timeOrigin + performance.now();

const benchEvents = async (platform: TestPlatform, bareUrl: string, count: number): Promise<void> => {
  const rows: (string | number)[][] = [];
  for (const [name, base] of [
    ["direct", bareUrl],
    ["through Busker", `${platform.url}/function/streams`],
  ] as const) {
    const times: number[] = [];
    for await (const chunk of await open(`${base}/events?count=${count}`)) {
      const heardMs = wallMs();
      for (const [, sent] of (chunk as Buffer).toString().matchAll(/data: (\S+)\n\n/g))
        times.push(heardMs - Number(sent));
    }
    const { n, p50, p95, p99 } = distribution(times);
    rows.push([`event, ${name}`, n, p50, p95, p99, 5, judge(p99, 5, 5, "lower")]);
  }
  const base = `${platform.url}/function/streams`;
  const leaving: number[] = [];
  for (let round = 0; round < Math.min(count, 100); round += 1) {
    const response = await open(`${base}/until-gone`);
    await once(response, "data");
    const leftMs = wallMs();
    response.destroy();
    for (let gone: number[] = []; gone.length === 0;) {
      await wait(5);
      gone = JSON.parse((await readAll(await open(`${base}/gone`))).toString()) as number[];
      leaving.push(...gone.map((atMs) => atMs - leftMs));
    }
  }
  const { n, p50, p95, p99 } = distribution(leaving);
  rows.push(["client leaves, function knows", n, p50, p95, p99, 100, judge(p99, 100, 100, "lower")]);
  printTable("Events and leavings, milliseconds", ["what", "n", "p50", "p95", "p99", "must (p99)", "verdict"], rows);
};

const cut = function* (body: Buffer): Iterable<Buffer> {
  for (let at = 0; at < body.length; at += 60_000) yield body.subarray(at, at + 60_000);
};

const echo = (url: string, body: Buffer, times: number, hasLength: boolean): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const sent = createHash("sha256");
    const got = createHash("sha256");
    const headers = hasLength ? { "Content-Length": body.length * times } : {};
    const request = httpRequest(url, { method: "POST", agent: false, headers });
    request.once("error", reject);
    request.once("response", (response) => {
      response.on("data", (chunk: Buffer) => got.update(chunk));
      response.once("error", reject);
      response.once("end", () => resolve(sent.digest("hex") === got.digest("hex")));
    });
    const write = async (): Promise<void> => {
      for (let time = 0; time < times; time += 1)
        for (const piece of cut(body)) {
          sent.update(piece);
          if (!request.write(piece)) await once(request, "drain");
        }
      request.end();
    };
    write().catch(reject);
  });

const benchEcho = async (platform: TestPlatform, isQuick: boolean): Promise<void> => {
  const body = randomBytes(mebibyte);
  const plan = [
    { title: "1 KiB", body: body.subarray(0, 1024), times: 1, runs: 100 },
    { title: "1 MiB", body, times: 1, runs: 100 },
    { title: "10 MiB", body, times: 10, runs: isQuick ? 5 : 100 },
    { title: "100 MiB", body, times: 100, runs: isQuick ? 1 : 3 },
    { title: "1 GiB", body, times: 1024, runs: isQuick ? 0 : 1 },
  ];
  const rows: (string | number)[][] = [];
  for (const { title, body: part, times, runs } of plan.filter((step) => step.runs > 0))
    for (const hasLength of [true, false]) {
      let same = 0;
      const startMs = performance.now();
      for (let at = 0; at < runs; at += 1)
        if (await echo(`${platform.url}/function/streams/echo`, part, times, hasLength)) same += 1;
      const seconds = (performance.now() - startMs) / 1000;
      const speed = (part.length * times * runs) / megabyte / seconds;
      rows.push([
        title,
        hasLength ? "Content-Length" : "chunked",
        runs,
        same,
        speed,
        same === runs ? "whole" : "DAMAGED",
      ]);
    }
  printTable(
    "Echo that answers while it reads, compared by hash",
    ["size", "framing", "n", "same", "MB/s", "verdict"],
    rows,
  );
};

/** Runs on a platform of its own with the function deployed. */
const withStreams = async (work: (platform: TestPlatform) => Promise<void>): Promise<void> => {
  const platform = await startTestPlatform();
  try {
    const response = await platform.deploy({
      name: "streams",
      code: { "server.mjs": streamFunction },
      envVars: { mode: "http", fprocess: "node server.mjs", exec_timeout: "10m" },
      more: fixedReplicas(1),
    });
    if (!response.ok) throw new Error(`could not deploy: ${await response.text()}`);
    await work(platform);
  } finally {
    await platform.stop();
  }
};

/** Measures streamed bodies and prints it. */
export const benchStreams = async (isQuick: boolean): Promise<void> => {
  await benchIdle(isQuick ? 200 : 1000);
  const bare = await startBareFunction(streamFunction);
  try {
    await withStreams(async (platform) => {
      await benchThroughput(platform, bare.url, (isQuick ? 200 : 1000) * megabyte, isQuick ? 3 : 5);
      await benchEvents(platform, bare.url, isQuick ? 300 : 2000);
      await benchUploads(platform, isQuick ? 50 : 200);
      await benchEcho(platform, isQuick);
    });
  } finally {
    bare.stop();
  }
};
