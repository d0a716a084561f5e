import { expect } from "chai";
import { headers as natsHeaders, type Msg, type MsgHdrs } from "nats";
import type { FrameKind, ReplicaControl } from "../../schemas/invocation.ts";
import { FunctionCalls } from "./function-calls.ts";
import type { CallResult, CallTransport, OpenCall } from "./open-call.ts";
import { HeaderBlock } from "./headers.ts";
import type { BodySink } from "./body-sender.ts";
import { encodeFrame } from "./frames.ts";
import { encodeLastFrame, encodeReply } from "./invocation-wire.ts";
import { WindowShare } from "./window-share.ts";

interface Sent {
  readonly subject: string;
  readonly token: number;
  readonly answer: (message: Msg) => void;
}

/** A world in which nothing happens by itself. */
const createWorld = () => {
  const sent: Sent[] = [];
  const controls: { readonly subject: string; readonly message: ReplicaControl }[] = [];
  const listeners = new Map<number, (message: Msg) => void>();
  let last = 0;
  const frames: { readonly subject: string; readonly text: string; readonly payload: Uint8Array }[] = [];
  const world = { nowMs: 1_000_000, demands: 0, parked: 0, moves: 0, sent, controls, listeners, frames };
  const expect_ = (listener: (message: Msg) => void): { token: number; subject: string } => {
    last += 1;
    listeners.set(last, listener);
    return { token: last, subject: `reply.${last}` };
  };
  const transport: CallTransport = {
    request: (subject, _headers, _body, listener) => {
      const { token } = expect_(listener);
      sent.push({ subject, token, answer: (message) => listeners.get(token)?.(message) });
      return token;
    },
    control: (subject, message) => controls.push({ subject, message }),
    forget: (token) => listeners.delete(token),
    standingReply: expect_,
    demand: () => {
      world.demands += 1;
    },
    frame: (subject, headers, payload) => frames.push({ subject, text: textOf(headers), payload }),
    moved: () => {
      world.moves += 1;
    },
    windows: new WindowShare(),
    parked: (waiting) => {
      world.parked = waiting;
    },
    nowMs: () => world.nowMs,
    random: () => 0,
  };
  const calls = new FunctionCalls({ namespace: "openfaas-fn", name: "f" }, transport, { maxCalls: 3, maxBytes: 1000 });
  return { world, calls };
};

const textOf = (block: MsgHdrs): string =>
  Buffer.from((block as unknown as { encode(): Uint8Array }).encode()).toString("utf8");

const messageOf = (block: MsgHdrs, body = ""): Msg => {
  const head = (block as unknown as { encode(): Uint8Array }).encode();
  const data = Buffer.from(body);
  return {
    _msg: { hdr: head.length },
    _rdata: Buffer.concat([head, data]),
    data,
    json: () => JSON.parse(body) as unknown,
  } as unknown as Msg;
};

const reply = (
  inFlight: number,
  slots: number,
  more: { error?: "replica_busy" | "deadline_exceeded"; offer?: boolean } = {},
): Msg =>
  messageOf(
    encodeReply({ callId: "c", source: "/s", head: { status: 200, headers: [] }, inFlight, slots, ...more }),
    "ok",
  );

const nobodyThere = (): Msg => {
  const parsed = natsHeaders(503, "No Responders");
  return { headers: parsed, data: new Uint8Array() } as unknown as Msg;
};

const offerFrom = (replica: string, inFlight: number, slots: number): Msg =>
  messageOf(HeaderBlock.of(""), JSON.stringify({ replica, inFlight, slots, offer: true }));

let serial = 0;
const open = (
  world: { nowMs: number },
  body = "x",
  more: Partial<Pick<OpenCall, "windowBytes" | "upload" | "isUpgrade" | "keepsEvents" | "onBound">> = {},
): { call: OpenCall; results: CallResult[] } => {
  const results: CallResult[] = [];
  const call: OpenCall = {
    callId: `call-${(serial += 1)}`,
    headers: HeaderBlock.of(""),
    body: Buffer.from(body),
    deadlineMs: world.nowMs + 1000,
    sinceMs: world.nowMs,
    done: (result) => results.push(result),
    onBound: undefined,
    windowBytes: 0,
    upload: undefined,
    keepsEvents: false,
    isKept: false,
    isUpgrade: false,
    stream: undefined,
    abandoned: false,
    bagIndex: -1,
    place: undefined,
    bound: undefined,
    ...more,
  };
  return { call, results };
};

const code = (results: readonly CallResult[]): string | undefined => {
  const [result] = results;
  return result?.kind === "failed" ? result.error.code : result?.kind;
};

const words = (results: readonly CallResult[]): string | undefined => {
  const [result] = results;
  return result?.kind === "failed" ? result.error.message : undefined;
};

const at = <T>(list: readonly T[], index: number): T => {
  const item = list[index];
  if (item === undefined) throw new RangeError(`there is no item ${index} of ${list.length}`);
  return item;
};

describe("FunctionCalls", () => {
  it("tells a call each replica that it is sent to, so that its start is known, and known again", () => {
    const { world, calls } = createWorld();
    const bound: string[] = [];
    calls.onReady("a", 1, 0);
    calls.onReady("b", 1, 1);
    const { call } = open(world, "x", { onBound: (replica) => bound.push(replica) });
    calls.add(call);
    expect(bound).to.deep.equal(["a"]);
    at(world.sent, 0).answer(reply(1, 1, { error: "replica_busy" }));
    expect(bound).to.deep.equal(["a"]);
    calls.onReady("b", 1, 0);
    expect(bound).to.deep.equal(["a", "b"]);
  });

  it("plans with the slots that are free, 50 of a replica without a limit", () => {
    const { world, calls } = createWorld();
    expect(calls.free).to.equal(0);
    calls.onReady("a", 3, 1);
    expect(calls.free).to.equal(2);
    calls.onReady("b", 0, 4);
    expect(calls.free).to.equal(48);
    calls.onReady("c", 1, 5);
    expect(calls.free, "a replica that says it is over its limit takes nothing from others").to.equal(48);
    calls.add(open(world).call);
    expect(calls.free).to.equal(47);
  });

  it("says that something moved when a reply frees a slot and when a replica becomes ready", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    expect(world.moves).to.equal(1);
    calls.add(open(world).call);
    at(world.sent, 0).answer(reply(0, 1));
    expect(world.moves).to.equal(2);
  });

  it("counts a cancelled call in its replica's slots and not among those that somebody waits for", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 2, 0);
    const { call } = open(world);
    calls.add(call);
    calls.cancel(call);
    expect([calls.wanted, calls.inFlight, calls.free]).to.deep.equal([0, 1, 1]);
    at(world.sent, 0).answer(reply(0, 2));
    expect([calls.wanted, calls.inFlight, calls.free]).to.deep.equal([0, 0, 2]);
  });

  it("binds a call only to a free slot and the next ones as slots free, first come first served", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const opened = [open(world), open(world), open(world)];
    for (const { call } of opened) calls.add(call);
    expect(world.sent).to.have.length(1);
    at(world.sent, 0).answer(reply(0, 1));
    expect(code(at(opened, 0).results)).to.equal("answered");
    expect(world.sent).to.have.length(2);
    expect(at(opened, 1).call.bound).to.not.equal(undefined);
    expect(at(opened, 2).call.bound).to.equal(undefined);
  });

  it("demands a replica when none is known, once in a while, and serves when one is ready", () => {
    const { world, calls } = createWorld();
    const { call } = open(world);
    calls.add(call);
    calls.tick();
    expect(world.demands).to.equal(1);
    world.nowMs += 600;
    calls.tick();
    expect(world.demands).to.equal(2);
    calls.onReady("a", 1, 0);
    expect(world.sent.map(({ subject }) => subject)).to.deep.equal(["busker.invoke.openfaas-fn.f.a"]);
  });

  it("demands at once when the last replica of an earlier demand is gone, because a cold start waits for it", () => {
    const { world, calls } = createWorld();
    calls.add(open(world).call);
    calls.onReady("a", 1, 0);
    at(world.sent, 0).answer(reply(0, 1));
    calls.onDraining("a");
    calls.add(open(world).call);
    expect(world.demands).to.equal(2);
  });

  it("refuses what would make the line longer than its bounds, in calls and in bytes", () => {
    const { world, calls } = createWorld();
    for (let waiting = 0; waiting < 3; waiting += 1) calls.add(open(world).call);
    const tooMany = open(world);
    calls.add(tooMany.call);
    expect(code(tooMany.results)).to.equal("line_full");
    const { world: other, calls: otherCalls } = createWorld();
    otherCalls.add(open(other, "x".repeat(900)).call);
    const tooBig = open(other, "x".repeat(101));
    otherCalls.add(tooBig.call);
    expect(code(tooBig.results)).to.equal("line_full");
  });

  it("puts a call that met a full replica back to the head of the line", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const first = open(world);
    const second = open(world);
    calls.add(first.call);
    calls.add(second.call);
    at(world.sent, 0).answer(reply(1, 1, { error: "replica_busy" }));
    expect(first.results).to.deep.equal([]);
    calls.onReady("b", 1, 0);
    expect(first.call.bound?.replica.id).to.equal("b");
    expect(second.call.bound).to.equal(undefined);
  });

  it("sends a call elsewhere when its replica is gone, and forgets that replica", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const { call, results } = open(world);
    calls.add(call);
    calls.onReady("b", 1, 0);
    at(world.sent, 0).answer(nobodyThere());
    expect(results).to.deep.equal([]);
    expect(call.bound?.replica.id).to.equal("b");
    expect(calls.readyReplicas).to.equal(1);
  });

  it("fails exactly the calls in a replica that exits, at once", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const inA = open(world);
    calls.add(inA.call);
    calls.onReady("b", 1, 0);
    const inB = open(world);
    calls.add(inB.call);
    calls.onExited("a", "signal SIGKILL");
    expect(code(inA.results)).to.equal("replica_lost");
    expect(inB.results).to.deep.equal([]);
  });

  it("sends the calls of a replica that has drained elsewhere, because it never took what it did not answer", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 0, 0);
    const opened = [open(world), open(world)];
    for (const { call } of opened) calls.add(call);
    calls.onDrained("a");
    expect(opened.flatMap(({ results }) => results)).to.deep.equal([]);
    calls.onReady("b", 1, 0);
    expect(opened.map(({ call }) => call.bound?.replica.id)).to.deep.equal(["b", undefined]);
  });

  it("fails what was sent before a call that found nobody, and waits for what was sent after it", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 0, 0);
    const opened = [open(world), open(world), open(world)];
    for (const { call } of opened) calls.add(call);
    at(world.sent, 1).answer(nobodyThere());
    expect(opened.map(({ results }) => code(results))).to.deep.equal(["replica_lost", undefined, undefined]);
    at(world.sent, 2).answer(nobodyThere());
    expect(calls.waiting).to.equal(2);
  });

  it("leaves calls in a draining replica alone and gives it no more", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 2, 0);
    const running = open(world);
    calls.add(running.call);
    calls.onDraining("a");
    const next = open(world);
    calls.add(next.call);
    expect(next.call.bound).to.equal(undefined);
    at(world.sent, 0).answer(reply(0, 2));
    expect(code(running.results)).to.equal("answered");
  });

  it("fails everything when the server is gone", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const bound = open(world);
    const waiting = open(world);
    calls.add(bound.call);
    calls.add(waiting.call);
    calls.onDisconnected();
    expect([code(bound.results), code(waiting.results)]).to.deep.equal(["bus_unavailable", "bus_unavailable"]);
    expect(calls.waiting + calls.inFlight).to.equal(0);
  });

  it("answers for a replica that overran the deadline, after a grace for the replica's own word", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const { call, results } = open(world);
    calls.add(call);
    world.nowMs += 1000;
    calls.tick();
    expect(results).to.deep.equal([]);
    world.nowMs += 300;
    calls.tick();
    expect(code(results)).to.equal("deadline_exceeded");
  });

  it("tells a call that waited in vain whether there was no replica or no slot", () => {
    const { world, calls } = createWorld();
    const noReplica = open(world);
    calls.add(noReplica.call);
    world.nowMs += 1000;
    calls.tick();
    expect(code(noReplica.results)).to.equal("no_replica");
    expect(words(noReplica.results)).to.equal(
      "the call waited in line for 1.0 s, until its deadline, and no replica of f.openfaas-fn was ready",
    );
    calls.onReady("a", 1, 1);
    const noSlot = open(world);
    calls.add(noSlot.call);
    world.nowMs += 1000;
    calls.tick();
    expect(code(noSlot.results)).to.equal("deadline_exceeded");
    expect(words(noSlot.results)).to.equal(
      "the call waited in line for 1.0 s, until its deadline, and no replica of f.openfaas-fn had a free slot",
    );
  });

  it("tells a call that was cut in its replica how much of its time had gone in line, because the replica cannot", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const [first, second] = [open(world), open(world)];
    for (const { call } of [first, second]) calls.add(call);
    world.nowMs += 900;
    at(world.sent, 0).answer(reply(0, 1, { error: "deadline_exceeded" }));
    expect(code(first.results)).to.equal("answered");
    world.nowMs += 100;
    at(world.sent, 1).answer(reply(0, 1, { error: "deadline_exceeded" }));
    expect(words(second.results)).to.equal(
      "the function did not answer within the call's 1.0 s, of which it waited 0.9 s in line for a replica with a free slot",
    );
    expect(calls.inFlight).to.equal(0);
  });

  it("stops a cancelled call in its replica, keeps its slot until the replica answers, and tells nobody", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const cancelled = open(world);
    calls.add(cancelled.call);
    calls.cancel(cancelled.call);
    expect(world.controls.map(({ message }) => message.kind)).to.deep.equal(["cancel"]);
    const next = open(world);
    calls.add(next.call);
    expect(next.call.bound).to.equal(undefined);
    at(world.sent, 0).answer(reply(0, 1));
    expect(cancelled.results).to.deep.equal([]);
    expect(next.call.bound).to.not.equal(undefined);
  });

  it("asks nobody for slots that are all its own, because its own replies free them", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    for (let count = 0; count < 3; count += 1) calls.add(open(world).call);
    expect(world.controls).to.deep.equal([]);
  });

  it("reserves with shared replicas, uses the offer, and withdraws what it no longer needs", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 1);
    calls.onReady("b", 1, 1);
    const { call, results } = open(world);
    calls.add(call);
    expect(world.controls.map(({ message }) => message.kind)).to.deep.equal(["reserve", "reserve"]);
    const offers = [...world.listeners.values()][0];
    offers?.(offerFrom("b", 1, 1));
    expect(call.bound?.replica.id).to.equal("b");
    expect(world.controls.slice(2).map(({ message, subject }) => [message.kind, subject])).to.deep.equal([
      ["withdraw", "busker.replica-control.a"],
    ]);
    at(world.sent, 0).answer(reply(0, 1));
    expect(code(results)).to.equal("answered");
  });

  it("gives back an offer that comes when nobody waits any more", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 1);
    const { call } = open(world);
    calls.add(call);
    calls.cancel(call);
    const offers = [...world.listeners.values()][0];
    offers?.(offerFrom("a", 1, 1));
    expect(world.controls.map(({ message }) => message.kind)).to.deep.equal(["reserve", "withdraw", "withdraw"]);
  });

  it("asks a silent replica with calls whether it is there, and fails them when it is not", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const { call, results } = open(world);
    calls.add({ ...call, deadlineMs: world.nowMs + 60_000 });
    world.nowMs += 1100;
    calls.tick();
    expect(world.controls.map(({ message }) => message.kind)).to.deep.equal(["ping"]);
    [...world.listeners.values()].at(-1)?.(nobodyThere());
    expect(code(results)).to.equal("replica_lost");
  });

  it("leaks no reply subject over a thousand calls of every end", () => {
    const { world, calls } = createWorld();
    const before = world.listeners.size;
    for (let round = 0; round < 250; round += 1) {
      calls.onReady("a", 1, 0);
      calls.add(open(world).call);
      world.sent.at(-1)?.answer(reply(0, 1));
      const cancelled = open(world);
      calls.add(cancelled.call);
      calls.cancel(cancelled.call);
      world.sent.at(-1)?.answer(reply(0, 1));
      calls.add(open(world).call);
      calls.onExited("a", "crash");
      const late = open(world);
      calls.add(late.call);
      calls.cancel(late.call);
    }
    expect(world.listeners.size).to.equal(before);
    expect(calls.waiting + calls.inFlight).to.equal(0);
  });
});

const inbox = "busker.invoke.openfaas-fn.f.a.T1";

const headFrame = (
  body = "he",
  named = inbox,
  { status = 200, stream }: { readonly status?: number; readonly stream?: string } = {},
): Msg =>
  messageOf(
    encodeReply({
      callId: "c",
      source: "/s",
      head: { status, headers: [] },
      inFlight: 1,
      slots: 1,
      inbox: named,
      stream,
    }),
    body,
  );

const frame = (kind: FrameKind, number: number, body = ""): Msg => messageOf(encodeFrame(kind, number), body);

const creditFrame = (totalBytes: number): Msg =>
  messageOf(HeaderBlock.of(`Busker-Frame: credit ${totalBytes}\r\nBusker-Inbox: ${inbox}\r\n`));

const lastFrame = (kind: "end" | "abort", number: number, body = ""): Msg =>
  messageOf(
    encodeLastFrame(kind, number, { inFlight: 0, slots: 1 }, kind === "abort" ? "function_unreachable" : undefined),
    body,
  );

/** A call that takes a streamed answer, its first credit 8 bytes, and what has come of it. */
const openStreamed = (
  world: { nowMs: number },
  more: Partial<Pick<OpenCall, "windowBytes" | "upload" | "isUpgrade" | "keepsEvents" | "onBound">> = {},
) => {
  const heard: string[] = [];
  const { call, results } = open(world, "x", { windowBytes: 8, ...more });
  const streamed: OpenCall = {
    ...call,
    done: (result) => {
      results.push(result);
      if (result.kind !== "streaming") return;
      heard.push(Buffer.from(result.body).toString());
      result.rest.listen({
        onData: (chunk) => heard.push(Buffer.from(chunk).toString()),
        onEnd: () => heard.push("end"),
        onError: (error) => heard.push(error.code),
      });
    },
  };
  return { call: streamed, results, heard };
};

const isLast = (message: Msg): boolean =>
  /Busker-Frame: (end|abort)/.test(Buffer.from((message as unknown as { _rdata: Uint8Array })._rdata).toString());

describe("FunctionCalls with streamed answers", () => {
  it("hands over the head and the parts, and has the slot back at the end and not before", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const { call, results, heard } = openStreamed(world);
    calls.add(call);
    calls.add(open(world).call);
    const { answer } = at(world.sent, 0);
    for (const message of [headFrame(), frame("data", 1, "ll"), frame("ping", 0), frame("data", 2, "o")])
      answer(message);
    expect([results.length, world.sent.length]).to.deep.equal([1, 1]);
    answer(lastFrame("end", 3));
    expect(heard).to.deep.equal(["he", "ll", "o", "end"]);
    expect([results.length, world.sent.length]).to.deep.equal([1, 2]);
    expect(world.listeners.size, "the standing reply and the second call's").to.equal(2);
  });

  const stream = "0123456789abcdef0123456789abcdef";
  for (const [keepsEvents, kinds] of [
    [true, []],
    [false, ["cancel"]],
  ] as const)
    it(`${keepsEvents ? "leaves a kept answer" : "stops an answer that it did not ask to be kept"} when the bus goes away`, () => {
      const { world, calls } = createWorld();
      calls.onReady("a", 1, 0);
      const { call, heard } = openStreamed(world, { keepsEvents });
      calls.add(call);
      at(world.sent, 0).answer(headFrame("", inbox, { stream }));
      calls.onDisconnected();
      expect(heard).to.deep.equal(["", "bus_unavailable"]);
      expect(world.controls.map(({ message }) => message.kind)).to.deep.equal(kinds);
    });

  for (const [isUpgrade, status] of [
    [true, 101],
    [false, 502],
  ] as const)
    it(`makes ${status} of a 101 ${isUpgrade ? "" : "not "}asked for, because the client is to see no other switch`, () => {
      const { world, calls } = createWorld();
      calls.onReady("a", 1, 0);
      const { call, results } = openStreamed(world, { isUpgrade });
      calls.add(call);
      at(world.sent, 0).answer(headFrame("he", inbox, { status: 101 }));
      const [result] = results;
      expect(result?.kind === "streaming" && result.reply.head.status).to.equal(status);
    });

  it("grants more when half of the window is consumed, the sum of all bytes so far and one window, twice as long for a fast reader", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const { call, results } = openStreamed(world);
    calls.add(call);
    at(world.sent, 0).answer(headFrame("12"));
    const [result] = results;
    if (result?.kind !== "streaming") throw new Error("it is not streamed");
    result.rest.consumed(2);
    expect(world.frames).to.have.length(0);
    at(world.sent, 0).answer(frame("data", 1, "3456"));
    result.rest.consumed(4);
    expect(world.frames.map(({ subject, text }) => [subject, /Busker-Frame: (.*)\r/.exec(text)?.[1]])).to.deep.equal([
      [inbox, "credit 22"],
    ]);
  });

  const faults: readonly (readonly [string, readonly Msg[], string])[] = [
    ["a part is missing", [headFrame(), frame("data", 2, "x")], "internal"],
    ["a part comes twice", [headFrame(), frame("data", 1, "x"), frame("data", 1, "x")], "internal"],
    ["the last part is missing", [headFrame(), frame("data", 1, "x"), lastFrame("end", 3)], "internal"],
    ["more comes than was granted", [headFrame(), frame("data", 1, "1234567")], "internal"],
    ["a second head comes", [headFrame(), headFrame()], "internal"],
    ["the function breaks off", [headFrame(), lastFrame("abort", 1, "why")], "function_unreachable"],
  ];
  for (const [what, messages, error] of faults)
    it(`ends the body with "${error}" when ${what}, and holds no slot`, () => {
      const { world, calls } = createWorld();
      calls.onReady("a", 1, 0);
      const { call, heard, results } = openStreamed(world);
      calls.add(call);
      for (const message of messages) at(world.sent, 0).answer(message);
      expect([heard.at(-1), results.length, calls.inFlight]).to.deep.equal([error, 1, 0]);
      const isToldToStop = world.controls.some(({ message }) => message.kind === "cancel");
      // An end that was not due may not be the replica's own.
      const hasEnded = messages.some(isLast) && error !== "internal";
      expect(isToldToStop, "a replica that goes on is told to stop").to.equal(!hasEnded);
    });

  it("gives the slot of a broken answer to who waits, because no reply will", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    calls.add(openStreamed(world).call);
    calls.add(openStreamed(world).call);
    expect([world.sent.length, calls.waiting]).to.deep.equal([1, 1]);
    at(world.sent, 0).answer(headFrame());
    at(world.sent, 0).answer(frame("data", 2, "x"));
    expect([world.sent.length, calls.waiting]).to.deep.equal([2, 0]);
  });

  for (const [what, named] of [
    ["of JetStream", "$KV.functions.f"],
    ["of another replica", "busker.invoke.openfaas-fn.f.b.T1"],
    ["deeper than its own", `${inbox}.x`],
    ["of its calls", "busker.invoke.openfaas-fn.f.a"],
  ] as const)
    it(`publishes to no subject ${what} that a replica names as its inbox`, () => {
      const { world, calls } = createWorld();
      calls.onReady("a", 1, 0);
      const { call, results } = openStreamed(world);
      calls.add(call);
      at(world.sent, 0).answer(headFrame("he", named));
      expect([code(results), calls.inFlight, world.frames.length]).to.deep.equal(["internal", 0, 0]);
    });

  it("ends the body when the replica is gone, when the bus is, and at the deadline", () => {
    const ends: readonly (readonly [string, (world: { nowMs: number }, calls: FunctionCalls) => void])[] = [
      ["replica_lost", (_world, calls) => calls.onExited("a", "killed")],
      ["bus_unavailable", (_world, calls) => calls.onDisconnected()],
      [
        "deadline_exceeded",
        (world, calls) => {
          world.nowMs += 1300;
          calls.tick();
        },
      ],
    ];
    for (const [error, cause] of ends) {
      const { world, calls } = createWorld();
      calls.onReady("a", 1, 0);
      const { call, heard } = openStreamed(world);
      calls.add(call);
      at(world.sent, 0).answer(headFrame());
      cause(world, calls);
      at(world.sent, 0).answer(frame("data", 1, "late"));
      expect(heard).to.deep.equal(["he", error]);
    }
  });

  it("tells nobody anything after the caller has given up, and keeps the slot until the replica's last word", () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    const { call, heard } = openStreamed(world);
    calls.add(call);
    at(world.sent, 0).answer(headFrame());
    calls.cancel(call);
    at(world.sent, 0).answer(frame("data", 1, "x"));
    expect([heard, calls.inFlight]).to.deep.equal([["he"], 1]);
    at(world.sent, 0).answer(lastFrame("abort", 2, "why"));
    expect([heard, calls.inFlight]).to.deep.equal([["he"], 0]);
  });
});

describe("FunctionCalls with streamed requests", () => {
  const openUpload = () => {
    const { world, calls } = createWorld();
    calls.onReady("a", 1, 0);
    let sink: BodySink | undefined;
    const { call, results } = openStreamed(world, { windowBytes: 0, upload: (to) => (sink = to) });
    calls.add(call);
    return { world, calls, results, sink: () => sink };
  };
  const sentIn = (world: ReturnType<typeof createWorld>["world"]): string[] =>
    world.frames.map(
      ({ text, payload }) => `${/Busker-Frame: (.*)\r/.exec(text)?.[1]} ${Buffer.from(payload).toString()}`,
    );

  it("write once a replica grants credit, no more than it grants, and say when there is room again", () => {
    const { world, results, sink } = openUpload();
    expect(sink()).to.equal(undefined);
    const { answer } = at(world.sent, 0);
    // One byte went with the request.
    answer(creditFrame(5));
    let drained = 0;
    const to = sink();
    if (!to) throw new Error("the upload has not begun");
    to.onDrain = () => (drained += 1);
    expect([to.write(Buffer.from("abc")), to.write(Buffer.from("def"))]).to.deep.equal([true, false]);
    expect(sentIn(world)).to.deep.equal(["data 1 abc", "data 2 d"]);
    answer(creditFrame(6));
    answer(creditFrame(6));
    expect(drained).to.equal(0);
    answer(creditFrame(20));
    expect(drained).to.equal(1);
    to.end();
    expect(sentIn(world).slice(2)).to.deep.equal(["data 3 e", "data 4 f", "end 5 "]);
    answer(reply(0, 1));
    expect(code(results)).to.equal("answered");
  });

  it("go to another replica when the first is busy, and not when it has begun to take the body", () => {
    const { world, calls, results, sink } = openUpload();
    calls.onReady("b", 1, 0);
    at(world.sent, 0).answer(reply(1, 1, { error: "replica_busy" }));
    expect([world.sent.length, sink()]).to.deep.equal([2, undefined]);
    const taken = openUpload();
    at(taken.world.sent, 0).answer(creditFrame(5));
    taken.calls.onReady("b", 1, 0);
    taken.calls.onDrained("a");
    expect([code(taken.results), taken.world.sent.length, results.length]).to.deep.equal(["replica_lost", 1, 0]);
  });

  it("end at the deadline when no credit ever comes", () => {
    const { world, calls, results } = openUpload();
    world.nowMs += 1300;
    calls.tick();
    expect([code(results), calls.inFlight]).to.deep.equal(["deadline_exceeded", 0]);
  });
});
