import { mock } from "node:test";
import { expect } from "chai";
import { BuskerError } from "../schemas/errors.ts";
import { keptLead, keptPatienceMs, unlimitedCredit } from "../schemas/invocation.ts";
import type { Bus } from "../services/bus/connection.ts";
import { createKeptAnswers, headEveryMs, isEventStream, type KeptAnswer } from "./kept-answers.ts";

interface Published {
  readonly subject: string;
  readonly text: string;
  readonly frame: string;
}

/** A bus that publishes into a list, whose round trips are answered by the test, and that may be away. */
const createWorld = () => {
  const published: Published[] = [];
  const flushes: (() => void)[] = [];
  const listeners = new Set<(connected: boolean) => void>();
  let isConnected = true;
  const publish = (subject: string, data: Uint8Array | string, options: { headers: unknown }): void => {
    const block = Buffer.from((options.headers as { encode: () => Uint8Array }).encode()).toString();
    published.push({
      subject,
      text: Buffer.from(data).toString(),
      frame: /Busker-Frame: (.*)\r\n/.exec(block)?.[1] ?? "",
    });
  };
  const bus = {
    nc: { publish, flush: () => new Promise<void>((resolve) => flushes.push(resolve)) },
    isConnected: () => isConnected,
    onChange: (listener: (connected: boolean) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Bus;
  const ends: (string | undefined)[] = [];
  const faults: BuskerError[] = [];
  const kept: KeptAnswer = createKeptAnswers(bus, { namespace: "ns", name: "fn", replica: "fn-1" }).open({
    callId: "c1",
    head: { status: 200, headers: [] },
    deadlineMs: 5,
    toldOf: (error) => error,
    onFault: (error) => faults.push(error),
    onLast: (error) => ends.push(error?.code),
  });
  return {
    kept,
    published,
    ends,
    faults,
    answerFlush: async (): Promise<void> => {
      flushes.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    },
    flushes,
    setConnected: (connected: boolean): void => {
      isConnected = connected;
      for (const listener of listeners) listener(connected);
    },
  };
};

const event = (bytes: number): Buffer => Buffer.from(`data: ${"x".repeat(bytes)}\n\n`);

describe("createKeptAnswers()", () => {
  it("publishes the head, each event under its number and its id, and the end", () => {
    const { kept, published, ends } = createWorld();
    kept.sink.write(Buffer.from("data: a\n\nid: 7\nda"));
    kept.sink.write(Buffer.from("ta: b\n\n"));
    kept.sink.end();
    const subject = `busker.stream.ns.fn.${kept.id}`;
    expect(published).to.deep.equal([
      { subject: `${subject}.head`, text: "", frame: "head 0" },
      { subject, text: `id: ${kept.id}.1\ndata: a\n\n`, frame: "data 1" },
      { subject, text: `id: ${kept.id}.2:7\ndata: b\n\n`, frame: "data 2" },
      { subject, text: "", frame: "end 3" },
    ]);
    expect(ends).to.deep.equal([undefined]);
    expect(kept.sink.isOver).to.equal(true);
  });

  it("holds the function back until the server has taken what was sent, because nothing is acknowledged", async () => {
    const { kept, flushes, answerFlush } = createWorld();
    let drained = 0;
    kept.sink.onDrain = () => (drained += 1);
    expect(kept.sink.write(event(200_000))).to.equal(true);
    expect(kept.sink.write(event(100_000))).to.equal(false);
    expect(kept.sink.write(event(10))).to.equal(false);
    expect(flushes).to.have.length(1);
    await answerFlush();
    expect(drained).to.equal(1);
    expect(kept.sink.write(event(100_000))).to.equal(true);
  });

  it("waits for the caller's client when the answer is too far ahead, and goes on as it takes events", async () => {
    const { kept, published, flushes, answerFlush } = createWorld();
    let drained = 0;
    kept.sink.onDrain = () => (drained += 1);
    expect(kept.sink.write(Buffer.from("data: x\n\n".repeat(4095)))).to.equal(true);
    expect(kept.sink.write(Buffer.from("data: x\n\n".repeat(10)))).to.equal(false);
    expect(published.at(-1)?.frame).to.equal("data 4096");
    while (flushes.length > 0) await answerFlush();
    expect([drained, published.length]).to.deep.equal([0, 4097]);
    kept.sink.grant(keptLead.bytes + 4 * 2048);
    expect([drained, published.at(-1)?.frame]).to.deep.equal([0, "data 4100"]);
    kept.sink.grant(keptLead.bytes + 20 * 2048);
    expect([drained, published.at(-1)?.frame]).to.deep.equal([1, "data 4105"]);
    expect(kept.sink.write(Buffer.from("data: x\n\n"))).to.equal(true);
  });

  it("counts large events by their bytes", async () => {
    const { kept, published, flushes, answerFlush } = createWorld();
    kept.sink.write(Buffer.concat(Array.from({ length: 50 }, () => event(250_000))));
    while (flushes.length > 0) await answerFlush();
    expect(published.at(-1)?.frame).to.equal("data 34");
  });

  it("says the end only behind what waits", async () => {
    const { kept, published, ends, flushes, answerFlush } = createWorld();
    kept.sink.write(Buffer.from("data: x\n\n".repeat(4097)));
    kept.sink.end();
    while (flushes.length > 0) await answerFlush();
    expect([ends, published.at(-1)?.frame]).to.deep.equal([[], "data 4096"]);
    kept.sink.grant(unlimitedCredit);
    expect([ends, published.slice(-2).map(({ frame }) => frame)]).to.deep.equal([
      [undefined],
      ["data 4097", "end 4098"],
    ]);
  });

  it("goes on without a client that does not move for long, and waits again for one that moves", () => {
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    try {
      const { kept, published } = createWorld();
      const write = (count: number): boolean => kept.sink.write(Buffer.from("data: x\n\n".repeat(count)));
      expect(write(5000)).to.equal(false);
      mock.timers.tick(keptPatienceMs - 1);
      kept.sink.grant(keptLead.bytes + 2048);
      mock.timers.tick(keptPatienceMs - 1);
      expect(published.at(-1)?.frame).to.equal("data 4097");
      mock.timers.tick(1);
      expect(published.at(-1)?.frame).to.equal("data 5000");
      expect(write(100)).to.equal(true);
      kept.sink.grant(keptLead.bytes + 2 * 2048);
      expect(write(100)).to.equal(false);
      expect(published.at(-1)?.frame).to.equal("data 5100");
    } finally {
      mock.timers.reset();
    }
  });

  it("waits for no client when its call is stopped, and ends with a fault there was", () => {
    const stop = (fault?: BuskerError): readonly (string | undefined)[] => {
      const { kept, published, ends } = createWorld();
      kept.sink.write(Buffer.from("data: x\n\n".repeat(4100)));
      kept.sink.end();
      kept.sink.hurry(fault);
      return [published.at(-1)?.frame, ...ends];
    };
    expect(stop()).to.deep.equal(["end 4101", undefined]);
    expect(stop(new BuskerError("bus_unavailable", "away"))).to.deep.equal(["abort 4097", "bus_unavailable"]);
  });

  it("writes the head anew while the answer takes long, because it would be gone before the last events", () => {
    mock.timers.enable({ apis: ["setInterval"] });
    try {
      const { kept, published } = createWorld();
      const heads = (): number => published.filter(({ frame }) => frame === "head 0").length;
      mock.timers.tick(headEveryMs);
      expect(heads()).to.equal(2);
      mock.timers.tick(headEveryMs);
      expect(heads()).to.equal(3);
      kept.sink.end();
      mock.timers.tick(headEveryMs * 2);
      expect(heads()).to.equal(3);
    } finally {
      mock.timers.reset();
    }
  });

  it("tells an abort with its error, and nothing after it", () => {
    const { kept, published, ends } = createWorld();
    kept.sink.abort(new BuskerError("function_unreachable", "it broke"));
    kept.sink.write(event(1));
    kept.sink.end();
    expect(published.slice(1).map(({ text, frame }) => [text, frame])).to.deep.equal([["it broke", "abort 1"]]);
    expect(ends).to.deep.equal(["function_unreachable"]);
  });

  it("tells the abort once the bus is back, because the stream would look as if it went on", () => {
    const { kept, published, ends, setConnected } = createWorld();
    setConnected(false);
    kept.sink.abort(new BuskerError("bus_unavailable", "away"));
    expect(ends).to.deep.equal(["bus_unavailable"]);
    expect(published).to.have.length(1);
    setConnected(true);
    expect(published.slice(1).map(({ frame }) => frame)).to.deep.equal(["abort 1"]);
    setConnected(true);
    expect(published).to.have.length(2);
  });

  it("gives the answer up at an event that is too large, in a later turn, and ends with that fault", async () => {
    const { kept, faults, published, ends } = createWorld();
    kept.sink.write(Buffer.concat([event(10), event(300_000)]));
    kept.sink.end();
    expect([faults, ends, published.length]).to.deep.equal([[], [], 2]);
    await Promise.resolve();
    const [fault] = faults;
    expect(fault?.code).to.equal("response_too_large");
    if (fault) kept.sink.abort(fault);
    expect(ends).to.deep.equal(["response_too_large"]);
  });
});

describe("isEventStream()", () => {
  const sse = ["Content-Type", "text/event-stream"];
  const cases: readonly (readonly [string, boolean, number, readonly string[]])[] = [
    ["its media type", true, 200, sse],
    ["its media type with parameters, in any case", true, 200, ["content-type", "Text/Event-Stream ; charset=utf-8"]],
    ["no coding", true, 200, [...sse, "Content-Encoding", "identity"]],
    ["another status", false, 201, sse],
    ["another media type", false, 200, ["Content-Type", "text/event-streams"]],
    ["no media type", false, 200, []],
    ["a coding, in which events cannot be told apart", false, 200, [...sse, "Content-Encoding", "gzip"]],
  ];
  for (const [what, expected, status, headers] of cases)
    it(`is ${expected} for ${what}`, () => {
      expect(isEventStream({ status, headers, body: "" })).to.equal(expected);
    });

  it("is false for an answer of the platform's own", () => {
    expect(isEventStream({ status: 200, headers: sse, body: "", error: "internal" })).to.equal(false);
  });
});
