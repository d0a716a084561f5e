import { execFileSync, type ChildProcess } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";

/** One output of a process that is about to be started. */
export interface OutputPipe {
  /** What `spawn` is given for it. */
  readonly stdio: number | "pipe";
  /** The end to read, once the process has been started with `stdio` at this descriptor. */
  attach(child: ChildProcess, descriptor: 1 | 2): Readable;
}

/** Gives output pipes. */
export interface PipeSource {
  open(): OutputPipe;
  close(): void;
}

const sharedMemory = "/dev/shm";

const makeIn = (folder: string, count: number): number[] => {
  const own = mkdtempSync(join(folder, "busker-pipes-"));
  try {
    const paths = Array.from({ length: count }, (_, index) => join(own, String(index)));
    execFileSync("mkfifo", ["-m", "600", ...paths], { stdio: "ignore", env: { PATH: "/usr/bin:/bin" } });
    return paths.map((path) => openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
  } finally {
    // A pipe lives as long as it is open, so nothing is left behind however the watchdog ends.
    rmSync(own, { recursive: true, force: true });
  }
};

const makeBatch = (count: number): number[] => {
  for (const folder of [sharedMemory, tmpdir()]) {
    try {
      return makeIn(folder, count);
    } catch {
      // No such folder, not writable, or no mkfifo: the next, or what Node has.
    }
  }
  return [];
};

const nodePipe: OutputPipe = {
  stdio: "pipe",
  attach(child, descriptor) {
    const stream = descriptor === 1 ? child.stdout : child.stderr;
    if (!stream) throw new Error(`descriptor ${descriptor} of the process is no pipe`);
    return stream;
  },
};

const openReal = (fd: number): OutputPipe => {
  const path = `/proc/self/fd/${fd}`;
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  closeSync(fd);
  return {
    stdio: writer,
    attach() {
      // From here on only the function holds the end to write, so that its end is the stream's.
      closeSync(writer);
      return new Socket({ fd: reader, readable: true, writable: false });
    },
  };
};

/**
 * Real pipes for what a function writes. What Node calls a pipe is a socket, which `>/dev/stderr` in a shell script and
 * nginx's log at `/dev/stdout` cannot open ("No such device or address"). Where no named pipe can be made, it is that.
 * `batchSize` are made at a time, because making them takes a process of its own.
 */
export const createPipeSource = (batchSize: number): PipeSource => {
  let ready: number[] | undefined;
  let canMake = process.platform === "linux";
  return {
    open() {
      if (canMake && !ready?.length) {
        ready = makeBatch(batchSize);
        canMake = ready.length > 0;
      }
      const fd = ready?.pop();
      return fd === undefined ? nodePipe : openReal(fd);
    },
    close() {
      for (const fd of ready ?? []) closeSync(fd);
      ready = [];
    },
  };
};
