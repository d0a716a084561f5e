import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import type { FunctionPlace, ResolvedCommand } from "./resolve-command.ts";

/**
 * Starts a program as the leader of its own process group, so that everything it starts can be killed with it.
 * Throws what the kernel refuses at once (an environment that is too large); the rest comes as the event `error`.
 */
export const spawnGroup = (command: ResolvedCommand, place: FunctionPlace, stdio: StdioOptions): ChildProcess =>
  spawn(command.file, command.args, { cwd: place.cwd, env: place.env, stdio, detached: true });

/** Sends a signal to a whole group; a group that is gone already is fine. */
export const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: nobody is left, which is what was wanted. EPERM: not ours any more, so there is nothing we may do.
  }
};

/** Whether the leader has ended. */
export const hasExited = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

/**
 * Ends groups: SIGTERM to all, SIGKILL to what is left after `graceMs`, and to the rest of a group as soon as its
 * leader has ended. Resolves when every leader has ended.
 */
export const stopGroups = async (children: readonly ChildProcess[], graceMs: number): Promise<void> => {
  const running = children.filter((child) => !hasExited(child));
  const exits = running.map(
    (child) =>
      new Promise<void>((done) => {
        child.once("exit", () => {
          signalGroup(child, "SIGKILL");
          done();
        });
      }),
  );
  for (const child of running) signalGroup(child, "SIGTERM");
  const timer = setTimeout(() => {
    for (const child of running) signalGroup(child, "SIGKILL");
  }, graceMs);
  await Promise.all(exits);
  clearTimeout(timer);
};

/** How a process ended, for a person. */
export const describeExit = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal === null ? `exit code ${code ?? "unknown"}` : `signal ${signal}`;
