import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a run of wrk saw. Times in milliseconds. */
export interface LoadResult {
  readonly n: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** Answers that were not 2xx, and connections that broke. */
  readonly errors: number;
}

const script = `
wrk.method = "POST"
wrk.body = "hello"
wrk.headers["Content-Type"] = "text/plain"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %f %f %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
`;

const run = (command: string, args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve(output) : reject(new Error(`${command} ended with ${code}`))));
  });

/** Posts five bytes again and again over some connections and measures. */
export const load = async (url: string, connections: number, seconds: number): Promise<LoadResult> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-wrk-"));
  try {
    const file = join(folder, "post.lua");
    await writeFile(file, script);
    const output = await run("wrk", ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", "-s", file, url]);
    const figures = (/RESULT (.*)/.exec(output)?.[1] ?? "").split(" ").map(Number);
    const [n = 0, durationUs = 1, p50 = 0, p95 = 0, p99 = 0, errors = 0] = figures;
    return { n, perSecond: (n / durationUs) * 1e6, p50: p50 / 1000, p95: p95 / 1000, p99: p99 / 1000, errors };
  } finally {
    await rm(folder, { recursive: true });
  }
};

/** CPU a process has used, children that ended included, in seconds. */
export const cpuSeconds = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
};

/** Memory that only this process has, in MiB. */
export const privateMebibytes = (pid: number): number => {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kibibytes = [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, size]) => sum + Number(size), 0);
  return kibibytes / 1024;
};
