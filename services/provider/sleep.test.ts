import { expect } from "chai";
import type { ReplicaOrder } from "../../schemas/invocation.ts";
import { silentLog } from "../runtime/log.ts";
import type { Bus } from "../bus/connection.ts";
import type { Backend } from "./backend.ts";
import type { ReplicaView } from "./function-state.ts";
import { createSleeper, newSleep, type Sleeper } from "./sleep.ts";

/** A step that a test lets end when it wants. */
interface Step {
  readonly done: () => void;
  readonly fail: (reason: string) => void;
}

interface Rig {
  readonly sleeper: Sleeper;
  readonly replica: ReplicaView;
  /** What was sent and done, in order. */
  readonly log: string[];
  readonly steps: Step[];
  readonly ended: Promise<string>;
  /** The number of the last freeze order. */
  readonly number: () => number;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const openRig = ({
  graceMs = 60_000,
  wakeMs = 60_000,
  isConnected = (): boolean => true,
  isPaused = false,
} = {}): Rig => {
  const log: string[] = [];
  const steps: Step[] = [];
  let number = 0;
  let onEnd = (_how: string): void => {};
  const ended = new Promise<string>((resolve) => (onEnd = resolve));
  const step = (what: string): Promise<void> => {
    log.push(what);
    return new Promise((resolve, reject) => steps.push({ done: resolve, fail: (reason) => reject(new Error(reason)) }));
  };
  const replica = {
    id: "r",
    state: "ready",
    stopping: false,
    asleep: isPaused,
    sleep: newSleep(isPaused),
  } as unknown as ReplicaView;
  const end = (how: string) => (ended: ReplicaView) => {
    ended.stopping = true;
    log.push(how);
    onEnd(how);
  };
  const publish = (_subject: string, text: string): void => {
    const order = JSON.parse(text) as ReplicaOrder;
    if (order.kind === "freeze") number = order.number;
    log.push(order.kind);
  };
  const sleeper = createSleeper({
    bus: { nc: { publish }, isConnected } as unknown as Bus,
    backend: {
      freeze: () => step("pause"),
      thaw: () => step("unpause"),
      catchUp: () => log.push("catch up"),
    } as unknown as Backend,
    log: silentLog,
    drain: end("drained"),
    kill: end("killed"),
    graceMs: () => graceMs,
    wakeMs,
  });
  return { sleeper, replica, log, steps, ended, number: () => number };
};

const freeze = ({ sleeper, replica }: Rig): void => {
  replica.asleep = true;
  sleeper.freeze(replica);
};
const endStep = async ({ steps }: Rig): Promise<void> => {
  steps.shift()?.done();
  await nextTurn();
};
const settle = ({ replica }: Rig): void => clearTimeout(replica.sleep.timer);

describe("createSleeper()", () => {
  it("pauses a replica when it has said that it is frozen, and not before", async () => {
    const rig = openRig();
    freeze(rig);
    rig.sleeper.hear(rig.replica, "draining", undefined);
    expect(rig.log).to.deep.equal(["freeze"]);
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    expect(rig.log).to.deep.equal(["freeze", "pause"]);
    await endStep(rig);
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    expect(rig.log).to.deep.equal(["freeze", "pause"]);
  });

  it("tells one that wakes what it has missed before it takes calls, and unpauses it without waiting", async () => {
    const rig = openRig({ isPaused: true });
    rig.sleeper.wake(rig.replica);
    expect(rig.log).to.deep.equal(["catch up", "resume", "unpause"]);
    settle(rig);
  });

  it("unpauses one that is wanted while it is being paused, because the engine takes its time", async () => {
    const rig = openRig();
    freeze(rig);
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    rig.sleeper.wake(rig.replica);
    expect(rig.log).to.deep.equal(["freeze", "pause", "catch up", "resume"]);
    await endStep(rig);
    expect(rig.log.at(-1)).to.equal("unpause");
    await endStep(rig);
    expect(rig.replica.sleep).to.include({ isPaused: false, isChanging: false });
    settle(rig);
  });

  it("does not pause one that is wanted before it was frozen, and tells it again to wake", () => {
    const rig = openRig();
    freeze(rig);
    rig.sleeper.wake(rig.replica);
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    expect(rig.log).to.deep.equal(["freeze", "catch up", "resume", "catch up", "resume"]);
    settle(rig);
  });

  it("does not take the answer to an earlier order for that to the last, because it has been open in between", () => {
    const rig = openRig();
    freeze(rig);
    const first = rig.number();
    rig.sleeper.wake(rig.replica);
    freeze(rig);
    expect(rig.number()).to.be.greaterThan(first);
    rig.sleeper.hear(rig.replica, "frozen", first);
    expect(rig.log).to.not.include("pause");
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    expect(rig.log.at(-1)).to.equal("pause");
  });

  it("repeats an order to one that says it is ready, because it may not have heard the first", () => {
    const rig = openRig();
    freeze(rig);
    const first = rig.number();
    rig.sleeper.hear(rig.replica, "ready", undefined);
    expect(rig.log).to.deep.equal(["freeze", "freeze"]);
    expect(rig.number()).to.equal(first);
    settle(rig);
  });

  it("stops one that cannot be paused, because zero is wished all the same", async () => {
    const rig = openRig();
    freeze(rig);
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    rig.steps[0]?.fail("no freezer");
    expect(await rig.ended).to.equal("drained");
  });

  it("kills one that cannot be unpaused, because it hears nothing else", async () => {
    const rig = openRig({ isPaused: true });
    rig.sleeper.wake(rig.replica);
    rig.steps[0]?.fail("no such container");
    expect(await rig.ended).to.equal("killed");
    settle(rig);
  });

  it("stops one that does not freeze in its function's time", async () => {
    const rig = openRig({ graceMs: 5 });
    freeze(rig);
    expect(await rig.ended).to.equal("drained");
  });

  it("kills one that is not ready in time, and not one that is", async () => {
    const late = openRig({ isPaused: true, wakeMs: 5 });
    const timely = openRig({ isPaused: true, wakeMs: 5 });
    timely.sleeper.wake(timely.replica);
    timely.sleeper.hear(timely.replica, "ready", undefined);
    late.sleeper.wake(late.replica);
    expect(await late.ended).to.equal("killed");
    expect(timely.log).to.not.include("killed");
  });

  it("holds nothing against a replica while the server is away, because it cannot be heard", async () => {
    let looks = 0;
    const rig = openRig({ isPaused: true, wakeMs: 5, isConnected: () => (looks += 1) > 3 });
    rig.sleeper.wake(rig.replica);
    expect(await rig.ended).to.equal("killed");
    expect(looks).to.equal(4);
  });

  it("leaves one alone that was told to stop, because its end is under way", () => {
    const rig = openRig();
    freeze(rig);
    rig.replica.stopping = true;
    rig.sleeper.hear(rig.replica, "frozen", rig.number());
    expect(rig.log).to.deep.equal(["freeze"]);
    settle(rig);
  });
});
