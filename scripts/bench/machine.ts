import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";

const firstLine = (command: string, args: readonly string[]): string => {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).split("\n")[0] ?? "";
  } catch (error) {
    // `wrk -v` says its version and exits with 1.
    const { stdout } = error as { stdout?: string };
    return stdout?.split("\n")[0] ?? "not found";
  }
};

/** What a figure depends on: the machine, the versions, the commit and what else is running. */
export const describeMachine = (): readonly string[] => [
  `${new Date().toISOString()}  commit ${firstLine("git", ["rev-parse", "--short", "HEAD"])}`,
  `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}`,
  `node ${process.version}, ${firstLine("nats-server", ["--version"])}, ${firstLine("wrk", ["-v"]).replace(/ \[.*/, "")}`,
  `load average ${loadavg()
    .map((load) => load.toFixed(2))
    .join(" ")} before the start`,
];
