import { execFileSync, type ChildProcess } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { hasExited } from "./process-group.ts";

/** One output of a process that is about to be started. */
export interface OutputPipe {
  /** What `spawn` is given for it. */
  readonly stdio: number | "pipe";
  /** The end to read, once the process has been started with `stdio` at this descriptor. */
  attach(child: ChildProcess, descriptor: 1 | 2): Readable;
  /** Instead of `attach`, when no process could be started. */
  discard(): void;
}

/** What a process reads, of one that is about to be started. */
export interface InputPipe {
  readonly stdio: number | "pipe";
  /** The end to write, once the process has been started with `stdio` at descriptor 0. */
  attach(child: ChildProcess): Writable;
  discard(): void;
}

/** Gives pipes. */
export interface PipeSource {
  open(): OutputPipe;
  openInput(): InputPipe;
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
  discard: () => undefined,
};

const nodeInput: InputPipe = {
  stdio: "pipe",
  attach({ stdin }) {
    if (!stdin) throw new Error("the standard input of the process is no pipe");
    return stdin;
  },
  discard: () => undefined,
};

/** The function's own end waits, ours does not. */
const openEnds = (fd: number, flags: { readonly reader: number; readonly writer: number }) => {
  const path = `/proc/self/fd/${fd}`;
  const reader = openSync(path, constants.O_RDONLY | flags.reader);
  const writer = openSync(path, constants.O_WRONLY | flags.writer);
  closeSync(fd);
  const discard = (): void => {
    for (const end of [reader, writer]) closeSync(end);
  };
  return { reader, writer, discard };
};

/** Linux's own flag: a file by name only, neither an end to read nor one to write. Node does not name it. */
const pathOnly = 0o10000000;

/** Pauses between two looks at an input that has ended. */
const firstPauseMs = 1;
const longestPauseMs = 250;

/**
 * Lets a process open `/dev/stdin` by name although its input has ended: a named pipe without a writer would keep it
 * waiting. So there is one again, for a moment and now and then, until nobody can read any more.
 */
const letOpen = (pathFd: number, child: ChildProcess, pauseMs = firstPauseMs): void => {
  try {
    if (!hasExited(child)) {
      closeSync(openSync(`/proc/self/fd/${pathFd}`, constants.O_WRONLY | constants.O_NONBLOCK));
      setTimeout(() => letOpen(pathFd, child, Math.min(pauseMs * 2, longestPauseMs)), pauseMs).unref();
      return;
    }
  } catch {
    // ENXIO: nobody has an end to read.
  }
  closeSync(pathFd);
};

const openRealInput = (fd: number): InputPipe => {
  const pathFd = openSync(`/proc/self/fd/${fd}`, pathOnly);
  const { reader, writer, discard } = openEnds(fd, { reader: 0, writer: constants.O_NONBLOCK });
  return {
    stdio: reader,
    attach(child) {
      // From here on only the function holds the end to read, so that writing fails when it has gone.
      closeSync(reader);
      const stdin = new Socket({ fd: writer, readable: false, writable: true });
      stdin.once("close", () => letOpen(pathFd, child));
      return stdin;
    },
    discard() {
      discard();
      closeSync(pathFd);
    },
  };
};

const openReal = (fd: number): OutputPipe => {
  const { reader, writer, discard } = openEnds(fd, { reader: constants.O_NONBLOCK, writer: 0 });
  return {
    stdio: writer,
    attach() {
      // From here on only the function holds the end to write, so that its end is the stream's.
      closeSync(writer);
      return new Socket({ fd: reader, readable: true, writable: false });
    },
    discard,
  };
};

/**
 * Real pipes for what a function writes and reads. What Node calls a pipe is a socket, which `>/dev/stderr` in a shell script and
 * nginx's log at `/dev/stdout` cannot open ("No such device or address"). Where no named pipe can be made, it is that.
 * `batchSize` are made at a time, because making them takes a process of its own.
 */
export const createPipeSource = (batchSize: number): PipeSource => {
  let ready: number[] | undefined;
  let canMake = process.platform === "linux";
  const take = (): number | undefined => {
    if (canMake && !ready?.length) {
      ready = makeBatch(batchSize);
      canMake = ready.length > 0;
    }
    return ready?.pop();
  };
  return {
    open() {
      const fd = take();
      return fd === undefined ? nodePipe : openReal(fd);
    },
    openInput() {
      const fd = take();
      return fd === undefined ? nodeInput : openRealInput(fd);
    },
    close() {
      for (const fd of ready ?? []) closeSync(fd);
      ready = [];
    },
  };
};
