import { Worker } from "node:worker_threads";

/** Watches from another thread that no call keeps this thread beyond its deadline. */
export interface LoopKeeper {
  /** A call begins; gives its place, or -1 when all are taken. Costs a few stores into shared memory. */
  enter(deadlineMs: number): number;
  /** The call of that place has ended. */
  leave(place: number): void;
  stop(): Promise<void>;
}

/** How long the thread may stand still after a deadline before the process is killed. */
const graceMs = 100;

/** How long the keeper stays without a call, in milliseconds. */
const idleMs = 10_000;

/**
 * Calls watched at a time. One beyond them needs no place of its own: a loop in it keeps the others beyond their
 * deadlines too.
 */
const places = 1024;

/** Indexes of the shared words. */
const words = { wake: 0, pong: 1, alive: 2, entered: 3 } as const;

/**
 * The keeper's own code, as text: the watchdog is shipped as one file, so there is no second one to start a thread from.
 *
 * It sleeps until the earliest deadline. When one has passed it sends a message, which this thread can only answer by
 * taking a turn of its event loop; with no answer within the grace, something loops, and only the end of the process
 * ends that. `waitsUntil` lets `enter` wake the keeper only for a deadline before the one it sleeps for.
 */
const keeperSource = `
const { parentPort, workerData } = require("node:worker_threads");
const { shared, deadlines, waitsUntil, graceMs, idleMs } = workerData;
const [WAKE, PONG, ALIVE, ENTERED] = [0, 1, 2, 3];
const lookAgainMs = 500;
const earliest = () => {
  let first = Infinity;
  for (const deadline of deadlines) if (deadline !== 0 && deadline < first) first = deadline;
  return first;
};
const isStuck = () => {
  const before = Atomics.load(shared, PONG);
  parentPort.postMessage(0);
  return Atomics.wait(shared, PONG, before, graceMs) === "timed-out";
};
let entered = -1;
let quietSince = Date.now();
for (;;) {
  waitsUntil[0] = Infinity;
  const wake = Atomics.load(shared, WAKE);
  const first = earliest();
  const now = Date.now();
  if (first <= now) {
    if (isStuck() && earliest() === first) process.kill(process.pid, "SIGXCPU");
    Atomics.wait(shared, WAKE, wake, 50);
    continue;
  }
  const count = Atomics.load(shared, ENTERED);
  if (count !== entered || first !== Infinity) quietSince = now;
  entered = count;
  if (now - quietSince >= idleMs) {
    Atomics.store(shared, ALIVE, 0);
    if (earliest() === Infinity || Atomics.compareExchange(shared, ALIVE, 0, 1) !== 0) break;
  }
  const until = Math.min(first, now + (first === Infinity ? lookAgainMs : 2 ** 30));
  waitsUntil[0] = until;
  Atomics.wait(shared, WAKE, wake, until - now);
}
`;

/** A keeper for this thread; its own thread starts with the first call. */
export const createLoopKeeper = (): LoopKeeper => {
  const shared = new Int32Array(new SharedArrayBuffer(4 * 4));
  const deadlines = new Float64Array(new SharedArrayBuffer(8 * places));
  const waitsUntil = new Float64Array(new SharedArrayBuffer(8));
  const free = Array.from({ length: places }, (_, index) => places - 1 - index);
  let worker: Worker | undefined;
  let stopped = false;

  const startWorker = (): void => {
    Atomics.store(shared, words.alive, 1);
    worker = new Worker(keeperSource, {
      eval: true,
      workerData: { shared, deadlines, waitsUntil, graceMs, idleMs },
      execArgv: [],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
    });
    worker.on("message", () => {
      Atomics.add(shared, words.pong, 1);
      Atomics.notify(shared, words.pong);
    });
    // A thread that could not be had leaves loops unguarded until the next call; the calls themselves are served.
    worker.on("error", () => Atomics.store(shared, words.alive, 0));
    worker.unref();
  };

  return {
    enter(deadlineMs) {
      const place = free.pop() ?? -1;
      if (place < 0) return place;
      deadlines[place] = deadlineMs;
      shared[words.entered] = ((shared[words.entered] ?? 0) + 1) | 0;
      if (Atomics.load(shared, words.alive) === 0 && !stopped) startWorker();
      else if (deadlineMs < (waitsUntil[0] ?? 0)) {
        Atomics.add(shared, words.wake, 1);
        Atomics.notify(shared, words.wake);
      }
      return place;
    },
    leave(place) {
      if (place < 0) return;
      deadlines[place] = 0;
      free.push(place);
    },
    async stop() {
      stopped = true;
      await worker?.terminate();
    },
  };
};
