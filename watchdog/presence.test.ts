import { expect } from "chai";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  invokeReplicaSubject,
  invokeSubject,
  replicaAnyFilter,
  replicaControlSubject,
  replicaOrderSubject,
} from "../schemas/subjects.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { eventually } from "../test/support/platform.ts";
import { startTestNats, type TestNats } from "../test/support/nats.ts";
import { openServerState, type ServerState } from "../test/support/server-state.ts";
import { connectWatched, type WatchedClient } from "../test/support/watched-client.ts";
import { openTestReplica, type TestReplica, timerMode } from "../test/support/replicas.ts";

const namespace = "openfaas-fn";

describe("createPresence()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let bus: Bus;
  /** Takes answers where a replica may send them. */
  let caller: WatchedClient;
  let server: ServerState;
  let replica: TestReplica;
  let lengthMs = 0;
  let id: string;
  let name: string;

  const order = (data: object): void => bus.nc.publish(replicaOrderSubject(id), JSON.stringify(data));
  const told: { readonly subject: string; readonly order?: number }[] = [];
  const statesOf = (order?: number): readonly string[] =>
    told
      .filter((event) => event.subject.endsWith(id) && (order === undefined || event.order === order))
      .map(({ subject }) => subject.split(".")[2] ?? "");
  const until = (what: string, holds: () => boolean) => eventually(what, () => (holds() ? true : undefined), 5000);
  const hears = (state: string, order?: number) =>
    until(`${state} ${order ?? ""} of ${id}`, () => statesOf(order).includes(state));
  const readies = (): number => statesOf().filter((state) => state === "ready").length;
  const request = (subject: string, body = "x") => caller.nc.request(subject, body, { timeout: 5000 });
  const failureOf = (answer: Promise<unknown>): Promise<string> =>
    answer.then(
      () => "answered",
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  const subjects = () => [invokeReplicaSubject(namespace, name, id), invokeSubject(namespace, name)];

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    caller = await connectWatched(nats, readFileSync(nats.credsFile("admin"), "utf8"), "_INBOX");
    server = await openServerState({ dataFolder: nats.dataFolder, natsUrl: nats.url });
    bus.nc.subscribe(replicaAnyFilter, {
      callback: (_, message) => {
        told.push({ ...message.json<{ order?: number }>(), subject: message.subject });
      },
    });
    await bus.nc.flush();
  });
  beforeEach(async () => {
    lengthMs = 0;
    id = `r-${randomUUID().slice(0, 8)}`;
    name = `fn-${id}`;
    const mode = timerMode(() => lengthMs, Buffer.from);
    replica = await openTestReplica({ nats, function: { namespace, name }, id, slots: 2, mode });
    await hears("ready");
  });
  afterEach(() => replica.close());
  after(async () => {
    await server?.close();
    await caller?.close();
    await bus?.close();
    await nats?.stop();
  });

  it("keeps nothing but orders while it is frozen, because what comes then would pile up", async () => {
    // The caller subscribes to its answers, too.
    await request(invokeSubject(namespace, name));
    const before = await server.subscriptions();
    order({ kind: "freeze", number: 7 });
    await hears("frozen", 7);
    // Calls to it and to all, control, demand, the inboxes of its streams.
    expect(await server.subscriptions()).to.equal(before - 5);
    for (const subject of [...subjects(), replicaControlSubject(id)])
      expect(await failureOf(request(subject)), subject).to.equal(`no responders: '${subject}'`);
    order({ kind: "resume" });
    await until("its return", () => readies() === 2);
    expect(await server.subscriptions()).to.equal(before);
    for (const subject of subjects()) expect((await request(subject, "back")).string()).to.equal("back");
  });

  it("takes calls the moment it says that it is ready, because who hears it sends one", async () => {
    for (let round = 1; round <= 20; round += 1) {
      order({ kind: "freeze", number: round });
      await hears("frozen", round);
      order({ kind: "resume" });
      await until("its return", () => readies() === round + 1);
      expect((await request(invokeReplicaSubject(namespace, name, id), "at once")).string()).to.equal("at once");
    }
  });

  it("finishes what is in flight before it is frozen, and is open again at once when it is to be", async () => {
    lengthMs = 300;
    const first = request(invokeSubject(namespace, name), "a");
    await caller.nc.flush();
    order({ kind: "freeze", number: 1 });
    await hears("draining");
    expect((await first).string()).to.equal("a");
    await hears("frozen", 1);
    order({ kind: "resume" });
    await until("its return", () => readies() === 2);

    lengthMs = 2000;
    let isAnswered = false;
    const second = request(invokeSubject(namespace, name), "b").finally(() => (isAnswered = true));
    await caller.nc.flush();
    order({ kind: "freeze", number: 2 });
    await until("its leave", () => statesOf().filter((state) => state === "draining").length === 2);
    order({ kind: "resume" });
    await until("its second return", () => readies() >= 3);
    expect(isAnswered).to.equal(false);
    lengthMs = 0;
    expect((await request(invokeSubject(namespace, name), "c")).string()).to.equal("c");
    expect((await second).string()).to.equal("b");
    expect(statesOf().filter((state) => state === "frozen")).to.have.length(1);
  });

  it("answers each freeze order with its number, because a late answer to an earlier one must not be taken for it", async () => {
    for (const number of [1, 2, 2]) order({ kind: "freeze", number });
    await hears("frozen", 2);
    order({ kind: "resume" });
    order({ kind: "freeze", number: 3 });
    await hears("frozen", 3);
    order({ kind: "resume" });
    order({ kind: "resume" });
    const before = readies();
    await until("its return", () => readies() > before);
    expect((await request(invokeSubject(namespace, name), "on")).string()).to.equal("on");
  });

  it("says again that it is frozen when it has connected again, because an order to wake may be lost", async () => {
    order({ kind: "freeze", number: 1 });
    await hears("frozen", 1);
    const isBack = until("its word", () => statesOf().filter((state) => state === "frozen").length === 2);
    await replica.replica.reconnect();
    await isBack;
    expect(readies()).to.equal(1);
    order({ kind: "resume" });
    await until("its return", () => readies() === 2);
    expect((await request(invokeSubject(namespace, name), "on")).string()).to.equal("on");
  });

  it("ends from its sleep when it is told to, and says nothing more of readiness", async () => {
    order({ kind: "freeze", number: 1 });
    await hears("frozen", 1);
    await replica.replica.drain(1000);
    order({ kind: "resume" });
    await bus.nc.flush();
    await replica.bus.nc.flush();
    expect(readies()).to.equal(1);
  });
});
