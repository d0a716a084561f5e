import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { expect } from "chai";
import { readFile } from "node:fs/promises";
import type { NatsConnection } from "nats";
import { inboxPrefix } from "../schemas/subjects.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { type PlatformUser, platformUsers } from "../services/bus/permissions.ts";
import { ensureTopology } from "../services/bus/topology.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";
import { connectWatched, type WatchedClient } from "./support/watched-client.ts";

interface Case {
  readonly user: PlatformUser;
  readonly what: string;
  readonly act: (nc: NatsConnection) => Promise<unknown>;
}

const kv = async (nc: NatsConnection, bucket: string) => new Kvm(jetstream(nc)).open(bucket);

const watchOnce = async (nc: NatsConnection, bucket: string): Promise<string> => {
  const watch = await (await kv(nc, bucket)).watch();
  for await (const entry of watch) return entry.key;
  return "";
};

const readOrdered = async (nc: NatsConnection, stream: string): Promise<string> => {
  const consumer = await jetstream(nc).consumers.get(stream, { deliver_policy: DeliverPolicy.All });
  const message = await consumer.next({ expires: 2000 });
  return message?.subject ?? "";
};

const putObject = async (nc: NatsConnection, store: string): Promise<unknown> => {
  const objects = await new Objm(jetstream(nc)).open(store);
  await objects.putBlob({ name: "a" }, Buffer.from("one"));
  await objects.putBlob({ name: "a" }, Buffer.from("two"));
  return objects.getBlob("a");
};

const consume = async (nc: NatsConnection): Promise<void> => {
  const manager = await jetstreamManager(nc);
  await manager.consumers.add("INVOCATIONS", {
    durable_name: "worker",
    filter_subject: "busker.queue.openfaas-fn.fn.normal",
    ack_policy: AckPolicy.Explicit,
  });
  const consumer = await jetstream(nc).consumers.get("INVOCATIONS", "worker");
  const message = await consumer.next({ expires: 2000 });
  if (!(await message?.ackAck())) throw new Error("no acknowledgement");
};

const services: readonly PlatformUser[] = ["gateway", "provider", "queue-worker", "scaler", "triggers"];

const allowed: readonly Case[] = [
  ...services.flatMap((user): readonly Case[] => [
    { user, what: "watch the wish", act: (nc) => watchOnce(nc, "functions") },
    { user, what: "read a function's status", act: async (nc) => (await kv(nc, "status")).get("fn.openfaas-fn") },
  ]),
  { user: "gateway", what: "read the audit log", act: (nc) => readOrdered(nc, "OPERATIONS") },
  { user: "gateway", what: "read logs", act: (nc) => readOrdered(nc, "LOGS") },
  { user: "gateway", what: "read kept events", act: (nc) => readOrdered(nc, "STREAMS") },
  { user: "gateway", what: "put and put again a bundle", act: (nc) => putObject(nc, "bundles") },
  {
    user: "gateway",
    what: "wish a deployment",
    act: (nc) => jetstream(nc).publish("busker.function.deploy.openfaas-fn.fn", "{}"),
  },
  {
    user: "gateway",
    what: "enqueue a call",
    act: (nc) => jetstream(nc).publish("busker.queue.openfaas-fn.fn.normal", "{}"),
  },
  {
    user: "provider",
    what: "write the wish",
    act: async (nc) => (await kv(nc, "functions")).put("other.openfaas-fn", "{}"),
  },
  {
    user: "provider",
    what: "make a stream",
    act: async (nc) => (await jetstreamManager(nc)).streams.add({ name: "NEW", subjects: ["busker.new"] }),
  },
  {
    user: "provider",
    what: "fetch a bundle",
    act: async (nc) => (await new Objm(jetstream(nc)).open("bundles")).getBlob("a"),
  },
  { user: "queue-worker", what: "consume calls and acknowledge", act: consume },
  { user: "queue-worker", what: "store a result", act: (nc) => jetstream(nc).publish("busker.result.abc", "{}") },
  {
    user: "queue-worker",
    what: "tell what became of a call",
    act: (nc) => jetstream(nc).publish("busker.call.succeeded.openfaas-fn.fn", "{}"),
  },
  { user: "queue-worker", what: "keep a large body", act: (nc) => putObject(nc, "payloads") },
  { user: "scaler", what: "take the lease", act: async (nc) => (await kv(nc, "leases")).create("scaler", "me") },
  {
    user: "scaler",
    what: "wish a replica count",
    act: (nc) => jetstream(nc).publish("busker.function.scale.openfaas-fn.fn", "{}"),
  },
  {
    user: "scaler",
    what: "write the log of loads",
    act: (nc) => jetstream(nc).publish("busker.load.openfaas-fn.fn", "{}"),
  },
  {
    user: "scaler",
    what: "see how much waits",
    act: async (nc) => (await jetstreamManager(nc)).consumers.info("INVOCATIONS", "worker"),
  },
  {
    user: "scaler",
    what: "see when a function was last called",
    act: async (nc) => (await jetstreamManager(nc)).streams.info("RECORD"),
  },
  {
    user: "triggers",
    what: "enqueue a call",
    act: (nc) => jetstream(nc).publish("busker.queue.openfaas-fn.fn.normal", "{}"),
  },
  {
    user: "outcomes",
    what: "publish to a subject of the deployer's",
    act: async (nc) => nc.publish("orders.done", "{}"),
  },
];

const othersReplies = services.flatMap((user) =>
  services
    .filter((other) => other !== user)
    .map((other) => ({
      user,
      what: `subscribe to the replies of ${other}`,
      subject: `${inboxPrefix(other)}.>`,
      publishes: false,
    })),
);

const platformSubjects = [
  "busker.function.deploy.openfaas-fn.fn",
  "busker.queue.openfaas-fn.fn.normal",
  "busker.invoke.openfaas-fn.fn",
  "busker.replica-order.fn-1",
  "_BUSKER.gateway.answer.abc",
  "_INBOX.abc.1",
  "$SYS.REQ.SERVER.PING",
  "$JS.API.STREAM.DELETE.INVOCATIONS",
  "$JS.ACK.INVOCATIONS.any.1.1.1.1.0",
  "$KV.functions.fn.openfaas-fn",
  "$O.bundles.C.abc",
].map((subject) => ({ user: "outcomes", what: `publish to ${subject}`, subject, publishes: true }) as const);

const refused: readonly {
  readonly user: PlatformUser;
  readonly what: string;
  readonly subject: string;
  readonly publishes: boolean;
}[] = [
  ...othersReplies,
  ...platformSubjects,
  { user: "outcomes", what: "listen to orders", subject: "orders.done", publishes: false },
  { user: "gateway", what: "write the wish", subject: "$KV.functions.fn.openfaas-fn", publishes: true },
  { user: "gateway", what: "write a status", subject: "$KV.status.fn.openfaas-fn", publishes: true },
  { user: "gateway", what: "read secrets", subject: "$JS.API.DIRECT.GET.KV_secrets.$KV.secrets.a", publishes: true },
  { user: "gateway", what: "write a secret", subject: "$KV.secrets.a", publishes: true },
  { user: "gateway", what: "take requests about secrets", subject: "busker.secret.create.*", publishes: false },
  { user: "gateway", what: "say a secret was changed", subject: "busker.secret.updated.openfaas-fn", publishes: true },
  { user: "gateway", what: "answer for the provider", subject: "_BUSKER.gateway.answer.abc", publishes: true },
  { user: "queue-worker", what: "list secrets", subject: "busker.secret.list.openfaas-fn", publishes: true },
  { user: "queue-worker", what: "read secrets", subject: "$JS.API.STREAM.MSG.GET.KV_secrets", publishes: true },
  { user: "scaler", what: "read secrets", subject: "$JS.API.STREAM.MSG.GET.KV_secrets", publishes: true },
  { user: "scaler", what: "remove a secret", subject: "busker.secret.remove.openfaas-fn", publishes: true },
  { user: "triggers", what: "update a secret", subject: "busker.secret.update.openfaas-fn", publishes: true },
  { user: "invoke", what: "list secrets", subject: "busker.secret.list.openfaas-fn", publishes: true },
  { user: "gateway", what: "remove a stream", subject: "$JS.API.STREAM.DELETE.INVOCATIONS", publishes: true },
  { user: "gateway", what: "forge an outcome", subject: "busker.function.deployed.openfaas-fn.fn", publishes: true },
  { user: "gateway", what: "forge an event", subject: "busker.stream.openfaas-fn.fn.abc", publishes: true },
  { user: "gateway", what: "take calls", subject: "busker.invoke.>", publishes: false },
  {
    user: "queue-worker",
    what: "wish a deployment",
    subject: "busker.function.deploy.openfaas-fn.fn",
    publishes: true,
  },
  { user: "queue-worker", what: "write the wish", subject: "$KV.functions.fn.openfaas-fn", publishes: true },
  { user: "scaler", what: "call a function", subject: "busker.invoke.openfaas-fn.fn", publishes: true },
  { user: "scaler", what: "wish a removal", subject: "busker.function.remove.openfaas-fn.fn", publishes: true },
  { user: "triggers", what: "wish a deployment", subject: "busker.function.deploy.openfaas-fn.fn", publishes: true },
  { user: "triggers", what: "read secrets", subject: "$JS.API.DIRECT.GET.KV_secrets.$KV.secrets.a", publishes: true },
];

describe("platformPermissions", () => {
  let nats: TestNats;
  let admin: Bus;
  const clients = new Map<PlatformUser, WatchedClient>();
  const client = (user: PlatformUser): WatchedClient => {
    const found = clients.get(user);
    if (!found) throw new Error(`no client of ${user}`);
    return found;
  };

  before(async () => {
    nats = await startTestNats();
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(admin);
    await (await kv(admin.nc, "functions")).put("fn.openfaas-fn", "{}");
    await jetstream(admin.nc).publish("busker.function.deployed.openfaas-fn.fn", "{}");
    admin.nc.publish("busker.log.openfaas-fn.fn.r1", "{}");
    admin.nc.publish("busker.stream.openfaas-fn.fn.abc", "");
    await admin.nc.flush();
    for (const user of platformUsers)
      clients.set(user, await connectWatched(nats, await readFile(nats.credsFile(user), "utf8"), inboxPrefix(user)));
  });

  after(async () => {
    for (const each of clients.values()) await each.close();
    await admin?.close();
    await nats?.stop();
  });

  for (const { user, what, act } of allowed)
    it(`let ${user} ${what}, because that is its work`, async () => {
      let outcome: unknown;
      const refusals = await client(user).settle(async (nc) => {
        outcome = await act(nc);
      });
      expect(refusals).to.deep.equal([]);
      expect(outcome).to.not.equal("");
    });

  for (const { user, what, subject, publishes } of refused)
    it(`do not let ${user} ${what}, because that is another's`, async () => {
      const refusals = await client(user).refusals((nc) => {
        if (publishes) nc.publish(subject);
        else nc.subscribe(subject, { callback: () => {} });
      });
      expect(refusals).to.deep.equal([`${publishes ? "publish" : "subscription"} ${subject}`]);
    });
});
