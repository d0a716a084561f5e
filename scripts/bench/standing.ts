import { eventually, startTestPlatform } from "../../test/support/platform.ts";
import { privateMebibytes } from "./load.ts";
import { distribution } from "./statistics.ts";
import { judge, printTable } from "./table.ts";

/* What the platform costs when nothing happens, and how long the first reply from zero replicas takes. */

const modes = [
  { name: "fork", code: { "empty.txt": "" }, envVars: { fprocess: "cat" } },
  {
    name: "handler",
    code: { "handler.mjs": "export default async (event) => event.body;" },
    envVars: { mode: "handler" },
  },
] as const;

const mustMebibytes = { platform: 200, replica: 15 };

/** Measures idle memory and prints it. */
export const benchMemory = async (): Promise<void> => {
  const platform = await startTestPlatform();
  try {
    for (const fn of modes) await platform.deploy(fn);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const parts: (readonly [string, readonly number[]])[] = [
      ["nats-server", platform.pids("nats.conf")],
      ["gateway", platform.pids("services/gateway/main")],
      ["provider", platform.pids("services/provider/main")],
      ["busker up", platform.process.pid === undefined ? [] : [platform.process.pid]],
    ];
    const sizes = parts.map(
      ([name, pids]) => [name, pids.reduce((sum, pid) => sum + privateMebibytes(pid), 0)] as const,
    );
    const total = sizes.reduce((sum, [, size]) => sum + size, 0);
    const { platform: mostPlatform, replica: mostReplica } = mustMebibytes;
    printTable(
      "Private memory when idle, MiB",
      ["process", "MiB", "must", "verdict"],
      [
        ...sizes.map(([name, size]) => [name, size, "", ""]),
        ["platform together", total, mostPlatform, judge(total, mostPlatform, mostPlatform, "lower")],
        ...modes.map(({ name }) => {
          const size = platform.pids(`replicas/${name}-`).reduce((sum, pid) => sum + privateMebibytes(pid), 0);
          return [`replica, mode ${name}`, size, mostReplica, judge(size, mostReplica, mostReplica, "lower")];
        }),
      ],
    );
  } finally {
    await platform.stop();
  }
};

/** Takes a function to zero and calls it, `count` times a mode, and prints how long the first reply takes. */
export const benchFromZero = async (count: number): Promise<void> => {
  const platform = await startTestPlatform();
  try {
    const rows: (string | number)[][] = [];
    for (const fn of modes) {
      await platform.deploy(fn);
      const times: number[] = [];
      for (let round = 0; round < count; round += 1) {
        await platform.api("POST", `/system/scale-function/${fn.name}`, { replicas: 0 });
        await eventually("no replica is left", () =>
          platform.pids(`replicas/${fn.name}-`).length === 0 ? true : undefined,
        );
        const startMs = performance.now();
        const response = await platform.invoke(fn.name, { method: "POST", body: "hello" });
        if ((await response.text()) !== "hello") throw new Error(`${fn.name} answered ${response.status}`);
        times.push(performance.now() - startMs);
      }
      const { n, p50, p95, p99 } = distribution(times);
      const verdict = p50 <= 150 ? judge(p99, 200, 120, "lower") : "TOO SLOW";
      rows.push([`process replica, mode ${fn.name}`, n, p50, p95, p99, "p50 150, p99 200 / 120", verdict]);
    }
    printTable(
      "First reply from zero replicas",
      ["what", "n", "p50 ms", "p95 ms", "p99 ms", "must / aim", "verdict"],
      rows,
    );
  } finally {
    await platform.stop();
  }
};
