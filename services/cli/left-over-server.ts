import { readFile } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { BuskerError } from "../../schemas/errors.ts";

// JetStream writes its state at a stop; a server that takes longer hangs.
const stopMs = 10_000;
const lookMs = 20;

const readProc = (pid: number, file: string): Promise<string> =>
  readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");

/** The process named by a pid file, when its command line names that very pid file: else the number is somebody else's. */
const findServer = async (pidFile: string): Promise<number | undefined> => {
  const pid = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
  if (!(pid > 1)) return undefined;
  return (await readProc(pid, "cmdline")).split("\0").includes(pidFile) ? pid : undefined;
};

/** The parent's pid: the fourth field of `stat`, the second of which is a name in parentheses. */
const parentOf = async (pid: number): Promise<number> =>
  Number((await readProc(pid, "stat")).replace(/^.*\) \S+ /s, "").split(" ")[0]);

const ownerOf = async (pid: number): Promise<number> =>
  Number(/(?:^|\0)BUSKER_NATS_OWNER=(\d+)/.exec(await readProc(pid, "environ"))?.[1]);

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch {
    // It went by itself.
  }
};

/** Gives true when the server has gone by `deadline`. */
const hasGone = async (pidFile: string, deadline: number): Promise<boolean> => {
  while ((await findServer(pidFile)) !== undefined) {
    if (Date.now() > deadline) return false;
    await wait(lookMs);
  }
  return true;
};

/**
 * Stops the nats-server that a platform which died has left on the same data folder: two on one store destroy it.
 * Throws `conflict` when its platform is alive. Without /proc (not Linux) nothing is found, and the port tells.
 */
export const stopLeftOverServer = async (pidFile: string): Promise<void> => {
  const pid = await findServer(pidFile);
  if (pid === undefined) return;
  // A child whose parent has died gets another parent.
  const owner = await ownerOf(pid);
  if ((await parentOf(pid)) === owner)
    throw new BuskerError(
      "conflict",
      `could not start nats-server: the platform with process id ${owner} uses the same data folder (${pidFile})`,
    );
  signal(pid, "SIGTERM");
  if (await hasGone(pidFile, Date.now() + stopMs)) return;
  signal(pid, "SIGKILL");
  if (await hasGone(pidFile, Date.now() + stopMs)) return;
  throw new BuskerError("conflict", `could not stop the nats-server left with process id ${pid}: it survived SIGKILL`);
};
