import { accessSync, constants } from "node:fs";
import { createPipeSource } from "../output-pipe.ts";
import { stopGroups } from "../process-group.ts";
import type { FunctionPlace } from "../resolve-command.ts";
import { openBodyFile } from "./body-file.ts";
import { createGroupScan } from "./group-members.ts";
import { openShellServer, shellPath, type ShellServer } from "./shell-server.ts";
import { canShellExport } from "./shell-words.ts";

/** Shells that wait for calls. */
export interface ShellServers {
  /** A shell whose group holds nothing but itself. */
  take(): ShellServer;
  /** Its call has ended; it is used again when nothing that the call has started is left in its group. */
  giveBack(server: ShellServer): void;
  stop(graceMs: number): Promise<void>;
}

/** Shortest pause between a call's end and the look for what it has left behind. */
const sweepPauseMs = 10;

/** Of its time the watchdog looks no more than one part in so many: /proc is slow where many processes are. */
const sweepShare = 15;

/** How long an unused shell is kept, in milliseconds. */
const idleMs = 3000;

/** Pipes made at a time, two for each shell. */
const pipesAtATime = 16;

/** Whether shells can start this function's processes here: there is a shell, /proc, and every variable gets through. */
export const canUseShells = (place: FunctionPlace): boolean => {
  if (process.platform !== "linux" || !canShellExport(place.env)) return false;
  try {
    accessSync(shellPath, constants.X_OK);
    accessSync("/proc/self/stat", constants.R_OK);
    openBodyFile().close();
    return true;
  } catch {
    return false;
  }
};

/**
 * Keeps shells, each the leader of its own process group, and finds out what calls leave behind: a group is looked
 * through before it takes another call, so no call meets the processes of another, and none of them lives on.
 *
 * This is what makes a fork cheap: Node copies its own page tables and then stands still until the child has become the
 * program, about 1 ms each time; a shell has next to nothing to copy. Measured with `cat`, two cores, 32 at a time: 914 a
 * second from Node, 2,171 from shells (and 2,178 from a C program that does nothing else).
 */
export const createShellServers = (place: FunctionPlace): ShellServers => {
  const all = new Set<ShellServer>();
  const idle: { readonly server: ShellServer; readonly sinceMs: number }[] = [];
  let used: ShellServer[] = [];
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let scanMs = 0;
  const findOccupied = createGroupScan();
  const pipes = createPipeSource(pipesAtATime);

  const open = (): ShellServer => {
    const server: ShellServer = openShellServer(place, pipes, () => all.delete(server));
    all.add(server);
    return server;
  };

  const putIdle = (servers: readonly ShellServer[]): void => {
    const sinceMs = Date.now();
    for (const server of servers) if (server.isAlive()) idle.push({ server, sinceMs });
  };

  const sweep = (): void => {
    const swept = used.filter((server) => server.isAlive());
    used = [];
    const beganMs = performance.now();
    const occupied = swept.length === 0 ? new Set<number>() : findOccupied(new Set(swept.map(({ pid }) => pid)));
    scanMs = performance.now() - beganMs;
    for (const server of swept) if (occupied.has(server.pid)) server.kill();
    const clean = swept.filter(({ pid }) => !occupied.has(pid));
    // Two turns, in which whatever such a process has still written is read and dropped.
    setImmediate(() => setImmediate(() => putIdle(clean)));
  };

  /** The longest unused stand first; one is always kept. */
  const closeUnused = (): void => {
    const beforeMs = Date.now() - idleMs;
    while (idle.length > 1 && (idle[0]?.sinceMs ?? beforeMs) < beforeMs) idle.shift()?.server.close();
  };

  const plan = (): void => {
    if (stopped || timer) return;
    const pauseMs = used.length > 0 ? Math.max(sweepPauseMs, scanMs * sweepShare) : idleMs;
    timer = setTimeout(tick, pauseMs);
    timer.unref();
  };

  const planSoon = (): void => {
    if (used.length !== 1) return;
    clearTimeout(timer);
    timer = undefined;
    plan();
  };

  function tick(): void {
    timer = undefined;
    if (used.length > 0) sweep();
    closeUnused();
    if (all.size > 1) plan();
  }

  putIdle([open()]);
  return {
    take() {
      for (let next = idle.pop(); next; next = idle.pop()) if (next.server.isAlive()) return next.server;
      return open();
    },
    giveBack(server) {
      if (!server.isAlive()) return;
      used.push(server);
      planSoon();
    },
    async stop(graceMs) {
      stopped = true;
      clearTimeout(timer);
      for (const server of all) server.close();
      await stopGroups(
        [...all].map(({ child }) => child),
        graceMs,
      );
      pipes.close();
    },
  };
};
