import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { findProcesses, type TestPlatform } from "./platform.ts";

const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A process that has ended meanwhile.
    return "";
  }
};

const statOf = (pid: number): readonly string[] => {
  const stat = readText(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
};

/** Tells whether `parent` has started `pid`. */
export const isParentOf = (parent: number, pid: number): boolean => Number(statOf(pid)[1]) === parent;

/** Tells whether a process runs; one that has ended and is only not collected yet does not. */
export const isAlive = (pid: number): boolean => ![undefined, "", "Z", "X"].includes(statOf(pid)[0]);

/** A number of a file in /proc, by its key. */
export const statusOf = (pid: number, file: string, key: string): number =>
  Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(readText(`/proc/${pid}/${file}`))?.[1]);

/** How many file descriptors a process has open, sockets included. */
export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** Words of a process's command line; none when it is gone. */
export const commandLineOf = (pid: number): readonly string[] =>
  readText(`/proc/${pid}/cmdline`).split("\0").filter(Boolean);

const folderOf = (pid: number): string => {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
};

/** The command lines of the programs with such a name that a platform's functions run. */
export const functionProcesses = ({ dataFolder }: TestPlatform, name: RegExp): readonly string[] =>
  findProcesses((line) => name.test(line))
    .filter((pid) => folderOf(pid).startsWith(dataFolder))
    .map((pid) => commandLineOf(pid).join(" "));

const launchNameOf = (pid: number): string | undefined => {
  const file = commandLineOf(pid).find((word) => word.endsWith("/launch.json"));
  const text = file === undefined ? "" : readText(file);
  return text === "" ? undefined : (JSON.parse(text) as { name: string }).name;
};

/** The watchdog of a function's one replica. Throws when none runs. */
export const watchdogOf = (platform: TestPlatform, name: string): number => {
  const pid = platform.pids("launch.json").find((candidate) => launchNameOf(candidate) === name);
  if (pid === undefined) throw new Error(`no watchdog of ${name} runs`);
  return pid;
};

/** Names of the files that calls leave for a moment. */
export const temporaryFiles = (): readonly string[] =>
  ["/dev/shm", tmpdir()].flatMap((folder) => readdirSync(folder).filter((name) => /^busker-(body|pipes)-/.test(name)));
