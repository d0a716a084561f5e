import { expect } from "chai";
import { connect } from "nats";
import { readCredentialsFile } from "../services/bus/credentials.ts";
import type { CallResult } from "../services/bus/open-call.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { type Invoker, openInvoker } from "../services/bus/invoker.ts";
import { callReplyPrefix, replicaControlSubject } from "../schemas/subjects.ts";
import { ensureTopology } from "../services/bus/topology.ts";
import type { Mode } from "../watchdog/mode.ts";
import { type TestNats, startTestNats } from "./support/nats.ts";
import { eventually } from "./support/platform.ts";
import { invocationOf, openTestReplica, type TestReplica, timerMode } from "./support/replicas.ts";

/*
 * Slots (design §3) on a real server: never more than N in flight, never a lost slot, first come first served.
 */

/** Watches how many calls run at once in one replica. */
const gauge = (mode: Mode): Mode & { readonly most: () => number } => {
  let now = 0;
  let most = 0;
  return {
    ...mode,
    begin: (call, finish) => {
      now += 1;
      most = Math.max(most, now);
      return mode.begin(call, (answer) => {
        now -= 1;
        finish(answer);
      });
    },
    most: () => most,
  };
};

const codeOf = (result: CallResult): string =>
  result.kind === "failed" ? result.error.code : (result.reply.error ?? String(result.reply.head.status));

describe("slots", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let callers: Bus[];
  let invokers: Invoker[];
  let replicas: TestReplica[] = [];
  let serial = 0;
  let name = { namespace: "openfaas-fn", name: "slots" };

  const call = (caller: number, body = "", timeoutMs = 60_000): Promise<CallResult> =>
    new Promise((resolve) => invokers[caller]?.invoke(invocationOf(name, body, timeoutMs), resolve));

  const open = async (count: number, slots: number, make: () => Mode): Promise<Mode[]> => {
    const modes: Mode[] = [];
    for (let index = 0; index < count; index += 1) {
      const mode = make();
      modes.push(mode);
      replicas.push(await openTestReplica({ nats, function: name, id: `r${serial}-${replicas.length}`, slots, mode }));
    }
    return modes;
  };

  before(async () => {
    nats = await startTestNats();
    const openCaller = (user: "gateway" | "provider") =>
      openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: "test" });
    const admin = await openCaller("provider");
    await ensureTopology(admin);
    await admin.close();
    callers = [await openCaller("gateway"), await openCaller("gateway"), await openCaller("gateway")];
    invokers = callers.map((bus) => openInvoker(bus));
  });

  beforeEach(() => {
    serial += 1;
    name = { namespace: "openfaas-fn", name: `slots-${serial}` };
  });

  afterEach(async () => {
    for (const replica of replicas) if (!replica.bus.nc.isClosed()) await replica.close();
    replicas = [];
  });

  after(async () => {
    for (const invoker of invokers) invoker.close();
    for (const bus of callers) await bus.close();
    await nats.stop();
  });

  for (const callerCount of [1, 3])
    it(`never has more than N in flight in a replica, and all calls end, with ${callerCount} callers`, async () => {
      const modes = (await open(3, 2, () => gauge(timerMode(() => Math.random() * 8)))) as ReturnType<typeof gauge>[];
      const calls = Array.from({ length: 300 }, (_, at) => call(at % callerCount));
      expect(new Set((await Promise.all(calls)).map(codeOf))).to.deep.equal(new Set(["200"]));
      for (const mode of modes) expect(mode.most()).to.be.within(1, 2);
      expect(replicas.map(({ replica }) => replica.inFlight())).to.deep.equal([0, 0, 0]);
    });

  it("serves first come, first served, because a later call must not overtake one in line", async () => {
    const order: string[] = [];
    await open(1, 1, () =>
      timerMode(
        () => 1,
        (body) => (order.push(Buffer.from(body).toString()), ""),
      ),
    );
    await Promise.all(Array.from({ length: 50 }, (_, at) => call(0, String(at))));
    expect(order).to.deep.equal(Array.from({ length: 50 }, (_, at) => String(at)));
  });

  it("gives three callers a like share, because the one that waits longest gets the freed slot", async () => {
    await open(2, 1, () => timerMode(() => 2));
    const finished = [0, 0, 0];
    const loops = finished.map(async (_, caller) => {
      for (let round = 0; round < 60; round += 1) {
        await Promise.all([call(caller), call(caller)]);
        finished[caller] = (finished[caller] ?? 0) + 2;
        if (finished.some((count) => count === 120)) return;
      }
    });
    await Promise.all(loops);
    for (const count of finished) expect(count).to.be.greaterThan(60);
  });

  it("loses no slot when calls are cancelled in line and in the replica", async () => {
    const [mode] = (await open(1, 1, () => gauge(timerMode(() => 5)))) as ReturnType<typeof gauge>[];
    for (let round = 0; round < 50; round += 1) {
      const cancels = [0, 1, 2].map((caller) => invokers[caller]?.invoke(invocationOf(name), () => {}));
      for (const cancel of cancels) cancel?.();
    }
    expect(codeOf(await call(0))).to.equal("200");
    expect(codeOf(await call(1))).to.equal("200");
    expect(mode?.most()).to.equal(1);
    await eventually("the slot is free", () => (replicas[0]?.replica.inFlight() === 0 ? true : undefined));
  });

  it("fails exactly the calls in a replica that crashes, and loses no slot of the others", async () => {
    const [, safe] = (await open(2, 2, () => gauge(timerMode(() => 300)))) as ReturnType<typeof gauge>[];
    const calls = [0, 1, 2, 0, 1, 2].map((caller) => call(caller));
    await eventually("four calls run", () =>
      replicas.every(({ replica }) => replica.inFlight() === 2) ? true : undefined,
    );
    await replicas[0]?.crash();
    const codes = (await Promise.all(calls)).map(codeOf);
    expect(codes.filter((code) => code === "replica_lost")).to.have.length(2);
    expect(codes.filter((code) => code === "200")).to.have.length(4);
    expect(safe?.most()).to.equal(2);
    expect(new Set((await Promise.all([0, 1, 2].map((caller) => call(caller)))).map(codeOf))).to.deep.equal(
      new Set(["200"]),
    );
  });

  it("loses no slot when a caller that has reserved one goes away without a word", async () => {
    await open(1, 1, () => timerMode(() => 30));
    const bus = await openBus({
      url: nats.url,
      credentialsFile: nats.credsFile("gateway"),
      user: "gateway",
      name: "gone",
    });
    const gone = openInvoker(bus);
    const first = call(0);
    await eventually("the slot is taken", () => (replicas[0]?.replica.inFlight() === 1 ? true : undefined));
    gone.invoke(invocationOf(name), () => {});
    await eventually("it has reserved", () => (gone.sideMessages().reserve > 0 ? true : undefined));
    await bus.nc.close();
    gone.close();
    expect(codeOf(await first)).to.equal("200");
    expect(codeOf(await call(1))).to.equal("200");
  });

  it("takes back a slot offered to a caller that never comes, though the replica has nothing else to do", async () => {
    await open(1, 1, () => timerMode(() => 1));
    const id = replicas[0]?.id ?? "";
    const reply = `${callReplyPrefix("gateway", name.namespace, name.name)}.nobody.1`;
    callers[1]?.nc.publish(replicaControlSubject(id), JSON.stringify({ kind: "reserve", since: 0 }), { reply });
    await callers[1]?.nc.flush();
    expect(codeOf(await call(0, "", 3000))).to.equal("200");
  });

  it("learns of replicas that were there before, at its first call", async () => {
    await open(2, 1, () => timerMode(() => 1));
    expect(codeOf(await call(2))).to.equal("200");
    await eventually("both are known", () => (invokers[2]?.counts(name).readyReplicas === 2 ? true : undefined));
  });

  it("sends nothing to a draining replica, and lets its calls end", async () => {
    await open(1, 1, () => timerMode(() => 100));
    const inIt = call(0);
    await eventually("the call runs", () => (replicas[0]?.replica.inFlight() === 1 ? true : undefined));
    const drained = replicas[0]?.replica.drain(5000);
    const next = call(0);
    await drained;
    expect(codeOf(await inIt)).to.equal("200");
    await open(1, 1, () => timerMode(() => 1));
    expect(codeOf(await next)).to.equal("200");
  });

  it("passes a plain client's message on from a full replica to a free one, and says 429 when all are full", async () => {
    await open(3, 1, () => timerMode(() => 200));
    const subject = `busker.invoke.${name.namespace}.${name.name}`;
    const nc = await connect({ servers: nats.url, authenticator: readCredentialsFile(nats.credsFile("invoke")) });
    const replies = await Promise.all(Array.from({ length: 8 }, () => nc.request(subject, "", { timeout: 5000 })));
    const errors = replies.map((reply) => reply.headers?.get("Busker-Error"));
    expect(errors.filter((error) => error === "replica_busy").length).to.be.within(1, 7);
    expect(errors.filter((error) => error === "").length).to.be.within(1, 7);
    await nc.close();
  });

  it("ends a call at its deadline when nobody is there, and says so", async () => {
    expect(codeOf(await call(0, "", 300))).to.equal("no_replica");
  });

  it("works on after the server has been restarted", async () => {
    await open(1, 1, () => timerMode(() => 1));
    expect(codeOf(await call(0))).to.equal("200");
    await nats.restart();
    await eventually(
      "it answers again",
      async () => (codeOf(await call(0, "", 1000)) === "200" ? true : undefined),
      15_000,
    );
  });
});
