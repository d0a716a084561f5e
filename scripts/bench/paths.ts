import { findProcesses, startTestPlatform, type TestPlatform } from "../../test/support/platform.ts";
import { fixedReplicas } from "./fixed-replicas.ts";
import { cpuSeconds, load, type LoadResult } from "./load.ts";
import { startBareFunction } from "./stream-function.ts";
import { judge, printTable } from "./table.ts";

/*
 * Throughput of each path, as a ratio to a bare Node echo server under the same load in the same run, with the CPU that
 * each process spends on a call.
 */

const echo = `
import { createServer } from "node:http";
createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => response.end(Buffer.concat(chunks)));
}).listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
`;

interface Path {
  readonly title: string;
  readonly function: string;
  readonly connections: number;
  /** What is compared and its bounds (design §8). */
  readonly target: { readonly what: "ratio" | "per second" | "p50 ms"; readonly must: number; readonly aim: number };
}

const paths: readonly Path[] = [
  { title: "HTTP function", function: "http", connections: 32, target: { what: "ratio", must: 0.17, aim: 0.24 } },
  { title: "handler mode", function: "handler", connections: 32, target: { what: "ratio", must: 0.25, aim: 0.32 } },
  {
    title: "fork per request (cat)",
    function: "cat",
    connections: 32,
    target: { what: "per second", must: 1000, aim: 1500 },
  },
  { title: "HTTP function", function: "http", connections: 1, target: { what: "p50 ms", must: 0.6, aim: 0.45 } },
];

const deployAll = async (platform: TestPlatform): Promise<void> => {
  const functions = [
    { name: "http", code: { "server.mjs": echo }, envVars: { mode: "http", fprocess: "node server.mjs" } },
    {
      name: "handler",
      code: { "handler.mjs": "export default async (event) => event.body;" },
      envVars: { mode: "handler" },
    },
    // One replica a core, as anybody would run a function that forks.
    {
      name: "cat",
      code: { "empty.txt": "" },
      envVars: { fprocess: "cat" },
      replicas: 2,
    },
  ];
  for (const { replicas = 1, ...fn } of functions) {
    const response = await platform.deploy({ ...fn, more: fixedReplicas(replicas) });
    if (!response.ok) throw new Error(`could not deploy ${fn.name}: ${await response.text()}`);
  }
};

// A function's process knows its platform by its temporary folder only.
const functionPids = (platform: TestPlatform, name: string): number[] =>
  findProcesses(
    (line, environment) =>
      line.includes("server.mjs") && environment.includes(`${platform.dataFolder}/replicas/${name}-`),
  );

/** Processes of a call by role; several of one role are added up. */
export const processesOf = (platform: TestPlatform, name: string): Readonly<Record<string, readonly number[]>> => {
  const all = {
    gateway: platform.pids("services/gateway/main"),
    "nats-server": platform.pids("nats.conf"),
    watchdog: platform.pids(`watchdog.mjs ${platform.dataFolder}/replicas/${name}-`),
    function: functionPids(platform, name),
  };
  return name === "http" ? all : { ...all, function: [] };
};

/** CPU that these processes have used, in seconds, by role. */
export const cpuByRole = (pids: Readonly<Record<string, readonly number[]>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(pids).map(([role, list]) => [role, list.reduce((sum, pid) => sum + cpuSeconds(pid), 0)]),
  );

interface Measured {
  readonly path: Path;
  readonly result: LoadResult;
  readonly bare: LoadResult;
  readonly cpuUs: Readonly<Record<string, number>>;
}

const measurePath = async (platform: TestPlatform, path: Path, bareUrl: string, seconds: number): Promise<Measured> => {
  const url = `${platform.url}/function/${path.function}`;
  await load(url, path.connections, 2);
  const bare = await load(bareUrl, path.connections, Math.ceil(seconds / 2));
  const pids = processesOf(platform, path.function);
  const before = cpuByRole(pids);
  const result = await load(url, path.connections, seconds);
  const after = cpuByRole(pids);
  const cpuUs = Object.fromEntries(
    Object.keys(pids).map((role) => [role, (((after[role] ?? 0) - (before[role] ?? 0)) / result.n) * 1e6]),
  );
  return { path, result, bare, cpuUs };
};

const median = (runs: readonly Measured[]): Measured => {
  const sorted = runs.toSorted((a, b) => a.result.perSecond - b.result.perSecond);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (!middle) throw new Error("nothing was measured");
  return middle;
};

const verdictOf = ({ path, result, bare }: Measured): string => {
  const { what, must, aim } = path.target;
  if (what === "p50 ms") return judge(result.p50, must, aim, "lower");
  return judge(what === "ratio" ? result.perSecond / bare.perSecond : result.perSecond, must, aim, "higher");
};

const row = (measured: Measured): (string | number)[] => {
  const { path, result, bare } = measured;
  const { what, must, aim } = path.target;
  return [
    `${path.title}, ${path.connections} conn.`,
    result.n,
    result.perSecond,
    bare.perSecond,
    result.perSecond / bare.perSecond,
    result.p50,
    result.p95,
    result.p99,
    result.errors,
    `${what} ${must} / ${aim}`,
    verdictOf(measured),
  ];
};

const headings = [
  "path",
  "n",
  "req/s",
  "bare Node req/s",
  "ratio",
  "p50 ms",
  "p95 ms",
  "p99 ms",
  "errors",
  "must / aim",
  "verdict",
];

/** Measures every path, `rounds` times, and prints the median of each. */
export const benchPaths = async (seconds: number, rounds: number, only?: readonly string[]): Promise<void> => {
  const platform = await startTestPlatform();
  const bare = await startBareFunction(echo);
  try {
    await deployAll(platform);
    const measured: Measured[] = [];
    for (const path of paths.filter((candidate) => only?.includes(candidate.function) ?? true)) {
      const runs: Measured[] = [];
      for (let round = 0; round < rounds; round += 1) runs.push(await measurePath(platform, path, bare.url, seconds));
      measured.push(median(runs));
    }
    printTable(`Paths: median of ${rounds} runs of ${seconds} s`, headings, measured.map(row));
    printTable(
      "CPU per call, microseconds",
      ["path", "gateway", "nats-server", "watchdog and what it forks", "function", "together"],
      measured.map(({ path, cpuUs }) => {
        const roles = ["gateway", "nats-server", "watchdog", "function"].map((role) => cpuUs[role] ?? 0);
        return [`${path.title}, ${path.connections} conn.`, ...roles, roles.reduce((sum, us) => sum + us, 0)];
      }),
    );
  } finally {
    bare.stop();
    await platform.stop();
  }
};
