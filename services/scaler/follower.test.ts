import { expect } from "chai";
import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import type { CallerSample, QueueSample, ReplicaSample } from "../../schemas/sample.ts";
import { callerSample, recordOf, replicaSample, statusOf } from "./fixtures/samples.ts";
import { type Assessment, Follower } from "./follower.ts";

const name = { namespace: "openfaas-fn", name: "f" };

/** A function with two ready replicas, its samples coming as its story says, second by second. */
class Story {
  nowMs = 1_000_000;
  readonly numbers = new Map<string, number>();
  readonly follower: Follower;
  record: FunctionRecord;
  ready: readonly string[];

  constructor(record: FunctionRecord, ready: readonly string[] = ["r1", "r2"]) {
    this.record = record;
    this.follower = new Follower(record, this.nowMs);
    this.ready = ready;
    this.comeUp(...ready);
  }

  comeUp(...ready: readonly string[]): void {
    this.ready = ready;
    this.follower.takeStatus(statusOf(Object.fromEntries(ready.map((id) => [id, "ready"]))), this.nowMs);
  }

  say(source: string, more: Partial<ReplicaSample> = {}): ReplicaSample {
    const n = (this.numbers.get(source) ?? 0) + 1;
    this.numbers.set(source, n);
    return this.repeat(source, replicaSample(n, more));
  }

  repeat(source: string, sample: ReplicaSample): ReplicaSample {
    this.follower.takeSample({ kind: "replica", function: name, source, sample }, this.nowMs);
    return sample;
  }

  call(sample: CallerSample): void {
    this.follower.takeSample({ kind: "caller", function: name, source: "gateway-1", sample }, this.nowMs);
  }

  queue(source: string, more: Pick<QueueSample, "depth" | "due">): void {
    const sample = { start: "a", n: Math.floor(this.nowMs), seconds: 1, oldestMs: 0, ...more };
    this.follower.takeSample({ kind: "queue", function: name, source, sample }, this.nowMs);
  }

  /** So many seconds in which `each` tells what happens. */
  pass(seconds: number, each: () => void): Assessment {
    let last: Assessment | undefined;
    for (let second = 0; second < seconds; second += 1) {
      this.nowMs += 1000;
      each();
      last = this.follower.assess(this.nowMs, this.nowMs);
    }
    if (!last) throw new Error("no time has passed");
    return last;
  }

  /** So many seconds in which each replica begins so many calls. */
  run(seconds: number, started: number, inFlight = 0): Assessment {
    return this.pass(seconds, () => this.ready.forEach((id) => this.say(id, { started, inFlight })));
  }

  rewish(replicas: number, scaledBecause?: string): void {
    this.record = { ...this.record, replicas };
    const because = scaledBecause === undefined ? {} : { scaledBecause };
    this.follower.takeRecord({ ...this.record, ...because }, this.nowMs);
  }
}

const target = { target: "10", "target-proportion": "1" };
const scaled = { replicas: 2, scaledBecause: "up" };
const verdict = ({ replicas, rule }: Assessment): readonly [number, string] => [replicas, rule];

describe("Follower", () => {
  it("follows a step of the load with the next samples, before the average has moved", () => {
    const story = new Story(recordOf("f", target, scaled));
    expect(verdict(story.run(20, 10))).to.deep.equal([2, "steady"]);
    expect(verdict(story.run(1, 20))).to.deep.equal([4, "up"]);
  });

  it("goes on following a step whose first seconds are in the average already", () => {
    const story = new Story(recordOf("f", target, scaled));
    story.run(20, 10);
    expect(verdict(story.run(3, 16))).to.deep.equal([4, "up"]);
  });

  const urgent: readonly (readonly [string, Readonly<Record<string, string>>, Partial<ReplicaSample>, boolean])[] = [
    ["with fewer calls than its target", target, { started: 9 }, false],
    ["with more calls than its target", target, { started: 11 }, true],
    ["with more of them, in more time", target, { started: 11, seconds: 2 }, false],
    ["with more calls at a time than its target", { ...target, type: "capacity" }, { inFlight: 11 }, true],
    ["with more calls, where there can be no more replicas", { ...target, max: "2" }, { started: 11 }, false],
  ];
  for (const [what, labels, more, isUrgent] of urgent)
    it(`${isUrgent ? "is to be decided on at once" : "can wait for its turn"} when a replica tells of itself ${what}`, () => {
      const { follower, nowMs } = new Story(recordOf("f", labels, scaled));
      const sample = replicaSample(1, more);
      expect(follower.takeSample({ kind: "replica", function: name, source: "r1", sample }, nowMs)).to.equal(isUrgent);
    });

  it("follows a step by what its callers tell, if they tell first", () => {
    const story = new Story(recordOf("f", target, scaled));
    story.run(20, 10);
    const sample = callerSample(1, { started: 40 });
    const news = { kind: "caller", function: name, source: "gateway-1", sample } as const;
    expect(story.follower.takeSample(news, story.nowMs)).to.equal(true);
    expect(verdict(story.follower.assess(story.nowMs, story.nowMs))).to.deep.equal([4, "up"]);
  });

  it("takes no caller's word for a rate that has hardly begun to count", () => {
    const story = new Story(recordOf("f", target, scaled));
    story.run(20, 10);
    story.call(callerSample(1, { started: 40, seconds: 0.1 }));
    expect(verdict(story.follower.assess(story.nowMs, story.nowMs))).to.deep.equal([2, "steady"]);
  });

  it("asks for no more because of a sample that covers a long time", () => {
    const story = new Story(recordOf("f", target, scaled));
    story.run(20, 10);
    story.pass(60, () => {});
    const late = story.pass(1, () => story.ready.forEach((id) => story.say(id, { started: 600, seconds: 60 })));
    expect(verdict(late)).to.deep.equal([2, "steady"]);
  });

  it("goes down when fewer have been enough for the down window, and not before", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "20s" }, scaled));
    story.run(40, 10);
    expect(verdict(story.run(25, 1))).to.deep.equal([2, "window"]);
    expect(verdict(story.run(10, 1))).to.deep.equal([1, "down"]);
  });

  it("lets nobody go soon after it began, because it has not seen enough", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "0s" }, scaled));
    expect(verdict(story.run(12, 0))).to.deep.equal([2, "window"]);
    expect(verdict(story.run(2, 0))).to.deep.equal([1, "down"]);
  });

  it("does not go down while a replica is silent that had calls", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "10s" }, scaled));
    story.run(40, 1, 1);
    story.rewish(5, "up");
    const silent = story.pass(60, () => story.say("r1"));
    expect(verdict(silent)).to.deep.equal([5, "silent"]);
    // Its last word counts.
    expect(silent.load.inFlight).to.equal(1);
  });

  it("takes no silence amiss of replicas with nothing to do, who speak every ten seconds", () => {
    const story = new Story(recordOf("f", target, { ...scaled, replicas: 5 }));
    let second = 0;
    const idle = story.pass(60, () => {
      second += 1;
      if (second % 10 === 0) story.ready.forEach((id) => story.say(id, { seconds: 10 }));
    });
    expect(verdict(idle)).to.deep.equal([1, "down"]);
  });

  it("counts a sample once that comes twice", () => {
    const story = new Story(recordOf("f", target, scaled));
    story.run(20, 5);
    const doubled = story.pass(10, () =>
      story.ready.forEach((id) => {
        const sample = story.say(id, { started: 5 });
        story.repeat(id, sample);
        story.repeat(id, sample);
      }),
    );
    expect(doubled.load.rps).to.be.closeTo(10, 0.01);
  });

  it("passes over a sample of an earlier run that comes late", () => {
    const story = new Story(recordOf("f", target, scaled));
    const before = story.say("r1", { started: 5 });
    story.numbers.clear();
    story.pass(15, () => story.say("r1", { start: "b" }));
    story.repeat("r1", before);
    expect(story.pass(1, () => story.say("r1", { start: "b" })).load.rps).to.equal(0);
  });

  it("does not go down by samples that come out of order: one that was overtaken counts as lost", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "10s" }, scaled));
    story.run(40, 10);
    let n = 40;
    const swapped = story.pass(60, () => {
      n += 2;
      for (const id of story.ready) {
        story.repeat(id, replicaSample(n, { started: 4 }));
        story.repeat(id, replicaSample(n - 1, { started: 4 }));
      }
    });
    expect(verdict(swapped)).to.deep.equal([2, "window"]);
  });

  it("does not go down while samples are late, because it waits for what they will say", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "10s" }, scaled));
    story.run(40, 10, 5);
    for (let told = 0; told < 5; told += 1) {
      expect(verdict(story.pass(29, () => {}))).to.deep.equal([2, "silent"]);
      const late = { started: 300, seconds: 30, inFlight: 5 };
      expect(story.pass(1, () => story.ready.forEach((id) => story.say(id, late))).replicas).to.equal(2);
    }
  });

  it("does not go down by samples that were lost", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "10s" }, scaled));
    story.run(40, 10);
    // Every other one is lost: what is left looks like half the load.
    const lossy = story.pass(60, () =>
      story.ready.forEach((id) => {
        story.numbers.set(id, (story.numbers.get(id) ?? 0) + 1);
        story.say(id, { started: 4 });
      }),
    );
    expect(verdict(lossy)).to.deep.equal([2, "window"]);
  });

  it("knows nothing of the time in which it was stopped, and lets nobody go by it", () => {
    const story = new Story(recordOf("f", { ...target, "down.window": "10s" }, scaled));
    story.run(40, 10);
    story.nowMs += 600_000;
    expect(verdict(story.run(1, 0))).to.deep.equal([2, "window"]);
  });

  it("takes a short call for one that is met in two replicas, where its caller says so", () => {
    const story = new Story(recordOf("f", { type: "capacity", target: "1", "target-proportion": "1" }, scaled));
    let n = 0;
    const { load } = story.pass(20, () => {
      story.ready.forEach((id) => story.say(id, { started: 10, inFlight: 1 }));
      n += 1;
      story.call(callerSample(n, { started: 20, inFlight: 1 }));
    });
    expect([load.inFlight, load.peakCalls]).to.deep.equal([1, 1]);
    // Nobody has told of the callers of these.
    expect(story.run(20, 10, 1).load.inFlight).to.equal(2);
  });

  it("counts calls that wait at once, and forgets those of a caller that is gone", () => {
    const story = new Story(recordOf("f", {}, { ...scaled, envVars: { max_inflight: "1" } }));
    story.run(5, 0);
    story.call(callerSample(1, { waiting: 4 }));
    expect(verdict(story.follower.assess(story.nowMs, story.nowMs))).to.deep.equal([6, "up"]);
    expect(story.run(3, 0).load.parked).to.equal(0);
  });

  it("goes to zero when nothing was begun, in flight, in line or queued for as long as its label says", () => {
    const story = new Story(recordOf("f", { zero: "true", "zero-duration": "60s" }, { replicas: 1 }), ["r1"]);
    story.run(30, 1);
    expect(verdict(story.run(59, 0))).to.deep.equal([1, "steady"]);
    expect(verdict(story.run(1, 0))).to.deep.equal([0, "idle"]);
  });

  const active: readonly (readonly [string, (story: Story) => void])[] = [
    ["in flight for long", (story) => story.say("r1", { inFlight: 1 })],
    ["in line", (story) => story.call(callerSample(Math.floor(story.nowMs), { waiting: 1 }))],
    ["queued", (story) => story.queue("w", { depth: 1 })],
    [
      "queued, as one of two queue-workers sees it",
      (story) => {
        story.queue("w1", { depth: 1, due: 1 });
        story.queue("w2", { depth: 1, due: 0 });
      },
    ],
  ];
  for (const [what, act] of active)
    it(`does not go to zero with a call ${what}`, () => {
      const story = new Story(recordOf("f", { zero: "true", "zero-duration": "10s" }), ["r1"]);
      const [replicas] = verdict(
        story.pass(60, () => {
          story.say("r1");
          act(story);
        }),
      );
      expect(replicas).to.equal(1);
    });

  it("is not idle while a replica starts, unless starts fail", () => {
    const story = new Story(recordOf("f", { zero: "true", "zero-duration": "1s" }), []);
    const startFor = (seconds: number, problem?: FunctionStatusRecord["problem"]) =>
      story.pass(seconds, () => story.follower.takeStatus(statusOf({ r1: "starting" }, problem), story.nowMs));
    expect(verdict(startFor(30))).to.deep.equal([1, "steady"]);
    expect(verdict(startFor(2, { message: "exit code 1", at: "", failures: 1 }))).to.deep.equal([0, "idle"]);
  });

  it("goes on counting from what its record says, once it has heard what runs", () => {
    const story = new Story(recordOf("f", { zero: "true", "zero-duration": "15m" }), ["r1"]);
    story.follower.recallIdle(600_000, story.nowMs);
    expect(verdict(story.run(299, 0))).to.deep.equal([1, "steady"]);
    expect(verdict(story.run(1, 0))).to.deep.equal([0, "idle"]);
    const overdue = new Story(recordOf("f", { zero: "true", "zero-duration": "15m" }), ["r1"]);
    overdue.follower.recallIdle(3_600_000, overdue.nowMs);
    expect(verdict(overdue.run(11, 0))).to.deep.equal([1, "steady"]);
    expect(verdict(overdue.run(1, 0))).to.deep.equal([0, "idle"]);
  });

  it("is not taken for idle by its record while a long call runs in it", () => {
    const story = new Story(recordOf("f", { zero: "true", "zero-duration": "15m" }), ["r1"]);
    story.follower.recallIdle(3_600_000, story.nowMs);
    expect(verdict(story.run(60, 0, 1))).to.deep.equal([1, "steady"]);
  });

  it("goes to zero with calls that are put off, because its queue-worker wakes it when they are due", () => {
    const story = new Story(recordOf("f", { zero: "true", "zero-duration": "10s" }), ["r1"]);
    const put = story.pass(11, () => {
      story.say("r1");
      story.queue("w", { depth: 5, due: 0 });
    });
    expect(verdict(put)).to.deep.equal([0, "idle"]);
  });

  it("does not go to zero for the time in which a replica that had a call was silent", () => {
    const story = new Story(recordOf("f", { zero: "true", "zero-duration": "10s" }), ["r1"]);
    story.run(30, 0, 1);
    story.pass(60, () => {});
    expect(verdict(story.run(9, 0))).to.deep.equal([1, "steady"]);
    expect(verdict(story.run(3, 0))).to.deep.equal([0, "idle"]);
  });

  it("does not go to zero that is to be kept by its annotation", () => {
    const record = recordOf("f", { zero: "true", "zero-duration": "10s" });
    const kept = { ...record, spec: { ...record.spec, annotations: { "com.busker.zero": "keep" } } };
    expect(verdict(new Story(kept, ["r1"]).run(60, 0))).to.deep.equal([1, "steady"]);
  });

  it("leaves a count that somebody else has set, until the load asks for another", () => {
    const story = new Story(recordOf("f", target, { replicas: 2 }));
    story.run(40, 0);
    story.rewish(5);
    expect(verdict(story.run(120, 0))).to.deep.equal([5, "manual"]);
    expect(verdict(story.run(1, 15))).to.deep.equal([5, "window"]);
    expect(verdict(story.run(60, 0))).to.deep.equal([1, "down"]);
  });

  it("adds to a count that somebody else has set, when the load asks for more", () => {
    const story = new Story(recordOf("f", target, { replicas: 2 }));
    story.run(40, 0);
    story.rewish(3);
    expect(verdict(story.run(1, 30))).to.deep.equal([6, "up"]);
  });

  it("holds while no replica comes up, and goes on with those that do", () => {
    const story = new Story(recordOf("f", { max: "40" }, { envVars: { max_inflight: "1" } }), []);
    const waiting = callerSample(1, { waiting: 1000 });
    story.call(waiting);
    expect(verdict(story.follower.assess(story.nowMs, story.nowMs))).to.deep.equal([1, "starting"]);
    story.comeUp("r1");
    expect(verdict(story.follower.assess(story.nowMs, story.nowMs))).to.deep.equal([9, "bounded"]);
    story.follower.takeStatus(
      statusOf({ r1: "starting" }, { message: "exit code 1", at: "", failures: 2 }),
      story.nowMs,
    );
    story.call({ ...waiting, n: 2 });
    expect(verdict(story.follower.assess(story.nowMs, story.nowMs))).to.deep.equal([1, "failing"]);
  });

  it("does not count calls of a replica that drains as load of those that stay", () => {
    const story = new Story(recordOf("f", {}, { ...scaled, envVars: { max_inflight: "1" } }));
    story.run(5, 0, 1);
    story.follower.takeStatus(statusOf({ r1: "ready", r2: "draining" }), story.nowMs);
    expect(story.follower.assess(story.nowMs, story.nowMs).load.inFlight).to.equal(1);
  });
});
