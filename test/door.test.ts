import { expect } from "chai";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers as natsHeaders, type NatsConnection } from "nats";
import type { FunctionName } from "../schemas/names.ts";
import { asyncSubject, queueSubject } from "../schemas/subjects.ts";
import { stores, streams } from "../schemas/topology.ts";
import { openTestWorker, type TestWorker } from "./support/call-runs.ts";
import type { TestNats } from "./support/nats.ts";
import { startTestStreams } from "./support/streams.ts";
import { eventually } from "./support/platform.ts";
import { readCredentialsFile } from "../services/bus/credentials.ts";
import { decodeDurable, type DurableCall } from "../services/bus/durable-call.ts";
import { openStore } from "../services/bus/objects.ts";
import { openDoor } from "../services/queue-worker/door/open-door.ts";

interface Answered {
  readonly stream?: string;
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly id?: string;
  readonly error?: { readonly code: number; readonly description: string };
}

describe("openDoor()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let worker: TestWorker;
  let nc: NatsConnection;
  let close: () => Promise<void>;
  let names = 0;

  const open = async (): Promise<() => Promise<void>> =>
    openDoor({
      bus: worker.bus,
      acknowledged: worker.acknowledged,
      acceptor: worker.acceptor,
      records: worker.records,
      payloads: await openStore(worker.bus, stores.payloads),
      functions: {
        lookUp: async ({ namespace, name }) => {
          const now = new Date().toISOString();
          if (!name.startsWith("fn")) return undefined;
          return { spec: { name, namespace, image: "i" }, replicas: 1, revision: "r", createdAt: now, updatedAt: now };
        },
      },
      publishOutcomes: async () => {},
      leaseMs: 2000,
    });
  const fn = (): FunctionName => ({ namespace: "openfaas-fn", name: `fn${(names += 1)}` });
  const subjectOf = ({ namespace, name }: FunctionName): string => asyncSubject(namespace, name);
  const block = (values: Readonly<Record<string, string>>) => {
    const made = natsHeaders();
    for (const [name, value] of Object.entries(values)) made.append(name, value);
    return made;
  };
  const send = async (
    to: FunctionName,
    body: string | Uint8Array,
    values: Readonly<Record<string, string>> = {},
  ): Promise<Answered> => {
    const answer = await nc.request(subjectOf(to), body, { headers: block(values), timeout: 5000 });
    return answer.json<Answered>();
  };
  /** Queued calls of a function, in order. */
  const queued = async ({ namespace, name }: FunctionName, priority: "high" | "normal" = "normal") => {
    const { direct } = await jetstreamManager(worker.bus.nc, { checkAPI: false });
    const calls: DurableCall[] = [];
    for (let seq = 1; ;) {
      const message = await direct
        .getMessage(streams.INVOCATIONS.name, { seq, next_by_subj: queueSubject(namespace, name, priority) })
        .catch(() => null);
      if (!message) return calls;
      calls.push(
        decodeDurable({ ...message, subject: message.subject, data: message.data, headers: message.header } as never),
      );
      seq = message.seq + 1;
    }
  };
  const atTheDoor = async (): Promise<number> =>
    (await (await jetstreamManager(worker.bus.nc, { checkAPI: false })).streams.info("DOOR")).state.messages;
  const untilEmpty = (): Promise<unknown> =>
    eventually("nothing is at the door", async () => (await atTheDoor()) === 0 || undefined);

  before(async () => {
    nats = await startTestStreams();
    worker = await openTestWorker(nats, new Map());
    nc = await connect({ servers: nats.url, authenticator: readCredentialsFile(nats.credsFile("invoke")) });
    close = await open();
  });
  after(async () => {
    await close();
    await nc.close();
    await worker.close();
    await nats.stop();
  });

  it("takes a bare payload, and answers as JetStream does, with the call's id", async () => {
    const to = fn();
    const answer = await send(to, "hello");
    expect(answer).to.include({ stream: "INVOCATIONS" });
    expect(answer.seq).to.be.greaterThan(0);
    const [call] = await queued(to);
    expect(call).to.include({ id: answer.id, priority: "normal" });
    expect(Buffer.from(call?.body ?? []).toString()).to.equal("hello");
    expect(call?.head.headers).to.include.members(["X-Call-Id", answer.id]);
    expect((await worker.record(answer.id ?? ""))?.state).to.equal("queued");
    await untilEmpty();
  });

  it("gives two that are the same an id each", async () => {
    const to = fn();
    const answers = await Promise.all([send(to, "same"), send(to, "same"), send(to, "same")]);
    expect(new Set(answers.map(({ id }) => id)).size).to.equal(3);
    expect(await queued(to)).to.have.length(3);
  });

  it("takes a CloudEvent in binary mode, the same one once", async () => {
    const to = fn();
    const values = {
      "ce-specversion": "1.0",
      "ce-id": "order-1",
      "ce-type": "order.placed",
      "ce-source": "/shop",
      "ce-datacontenttype": "application/json",
      "X-Priority": "high",
      "X-Callback-Url": "https://example.org/done",
    };
    const { id } = await send(to, '{"n":1}', values);
    const [call] = await queued(to, "high");
    expect(call).to.include({
      id,
      contentType: "application/json",
      callbackUrl: "https://example.org/done",
      priority: "high",
    });
    expect(call?.head.headers).to.include.members(["ce-type", "order.placed", "content-type", "application/json"]);
    const again = await send(to, '{"n":1}', values);
    expect(again).to.include({ id, duplicate: true });
    expect(await queued(to, "high")).to.have.length(1);
  });

  it("loses no CloudEvent to another source's of the same id", async () => {
    const to = fn();
    const event = { "ce-specversion": "1.0", "ce-id": "1", "ce-type": "t" };
    const one = await send(to, "a", { ...event, "ce-source": "/one" });
    const two = await send(to, "b", { ...event, "ce-source": "/two" });
    expect(two).not.to.have.property("duplicate");
    expect((await queued(to)).map(({ id }) => id)).to.have.members([one.id, two.id]);
  });

  it("takes the X-Call-Id of a CloudEvent, as the gateway does", async () => {
    const event = { "ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "ce-source": "/s" };
    expect(await send(fn(), "a", { ...event, "X-Call-Id": "given" })).to.include({ id: "given" });
  });

  it("takes a CloudEvent in structured mode", async () => {
    const to = fn();
    const event = { specversion: "1.0", id: "s-1", type: "t", source: "/s", datacontenttype: "text/plain", data: "hi" };
    const type = { "Content-Type": "application/cloudevents+json", "X-Delay": "1h" };
    const sentMs = Date.now();
    const { id } = await send(to, JSON.stringify(event), type);
    const [call] = await queued(to);
    expect(call?.id).to.equal(id);
    expect(Buffer.from(call?.body ?? []).toString()).to.equal("hi");
    expect(call?.contentType).to.equal("text/plain");
    expect(call?.runAtMs).to.be.within(sentMs + 3_590_000, sentMs + 3_620_000);
  });

  it("runs what has the same idempotency key once", async () => {
    const to = fn();
    const first = await send(to, "a", { "Idempotency-Key": "k" });
    const second = await send(to, "b", { "Idempotency-Key": "k" });
    expect(second).to.include({ id: first.id, duplicate: true });
    expect(await queued(to)).to.have.length(1);
  });

  it("gives an id that travels along a chain a call of its own", async () => {
    const [one, two] = [fn(), fn()];
    await send(one, "a", { "ce-id": "travels" });
    const answer = await send(two, "b", { "ce-id": "travels" });
    expect(answer.id).not.to.equal("travels");
    expect((await queued(two))[0]).to.include({ id: answer.id, parent: "travels" });
  });

  it("keeps a body that is too large for a record in the store", async () => {
    const to = fn();
    const body = Buffer.alloc(2 * 1024 * 1024, 3);
    await send(to, body);
    const [call] = await queued(to);
    expect(call?.body).to.have.length(0);
    expect(call?.payload).to.include({ place: "payload", bytes: body.length });
    const store = await openStore(worker.bus, stores.payloads);
    expect(await store.size(call?.payload?.name ?? "")).to.equal(body.length);
  });

  const wrong: readonly {
    what: string;
    name: string;
    values: Record<string, string>;
    code: number;
    says: RegExp;
    isDropped?: true;
  }[] = [
    { what: "an unknown function", name: "nobody", values: {}, code: 404, says: /function_not_found: .*nobody/ },
    { what: "a bad header", name: "fn", values: { "X-Delay": "soon" }, code: 400, says: /X-Delay must be/ },
    { what: "a bad head", name: "fn", values: { "Busker-Http": "{" }, code: 400, says: /Busker-Http/ },
    { what: "an id that is too long", name: "fn", values: { "ce-id": "x".repeat(129) }, code: 400, says: /call id/ },
    {
      what: "giant headers",
      name: "fn",
      values: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`X-${at}`, "x".repeat(10_000)])),
      code: 400,
      says: /at most 65535/,
      isDropped: true,
    },
    {
      what: "a structured event that is none",
      name: "fn",
      values: { "Content-Type": "application/cloudevents+json" },
      code: 400,
      says: /JSON/,
    },
  ];

  for (const { what, name, values, code, says, isDropped } of wrong) {
    it(`tells a sender that waits of ${what}`, async () => {
      const answer = await send({ namespace: "openfaas-fn", name }, "x", values);
      expect(answer.error?.code).to.equal(code);
      expect(answer.error?.description).to.match(says);
      await untilEmpty();
    });

    // The stream itself does not take it, and has nobody to tell.
    if (isDropped) continue;

    it(`buries ${what} where nobody waits`, async () => {
      const subject = `busker.dead.openfaas-fn.${name}.*`;
      const manager = await jetstreamManager(worker.bus.nc, { checkAPI: false });
      const letters = async (): Promise<number> =>
        Object.keys((await manager.streams.info("DEAD", { subjects_filter: subject })).state.subjects ?? {}).length;
      const before = await letters();
      nc.publish(subjectOf({ namespace: "openfaas-fn", name }), "kept", { headers: block(values) });
      await eventually("it is buried", async () => (await letters()) > before || undefined);
      await untilEmpty();
    });
  }

  it("answers nobody where the sender may not take answers", async () => {
    const to = fn();
    const heard: string[] = [];
    const listener = worker.bus.nc.subscribe("busker.call.queued.openfaas-fn.other", {
      callback: (_error, message) => void heard.push(message.string()),
    });
    // A subject that the door may publish to, and its sender may not.
    nc.publish(subjectOf(to), "x", { reply: "busker.call.queued.openfaas-fn.other" });
    await eventually("it is accepted", async () => ((await queued(to)).length === 1 ? true : undefined));
    await untilEmpty();
    await worker.bus.nc.flush();
    expect(heard).to.deep.equal([]);
    listener.unsubscribe();
  });

  it("takes in what came while no worker was there, once each", async () => {
    const to = fn();
    await close();
    for (let count = 0; count < 500; count += 1) nc.publish(subjectOf(to), String(count));
    await nc.flush();
    const doors = [await open(), await open()];
    await untilEmpty();
    const bodies = (await queued(to)).map(({ body }) => Number(Buffer.from(body).toString()));
    expect(bodies.toSorted((a, b) => a - b)).to.deep.equal(Array.from({ length: 500 }, (_, at) => at));
    await doors[0]?.();
    close = doors[1] ?? close;
  });

  it("answers a JetStream client's publish", async () => {
    const to = fn();
    const ack = await jetstream(nc).publish(subjectOf(to), "x", { headers: block({ "ce-id": "js-1" }) });
    expect(ack).to.include({ stream: "INVOCATIONS", duplicate: false });
    const again = await jetstream(nc).publish(subjectOf(to), "x", { headers: block({ "ce-id": "js-1" }) });
    expect(again.duplicate).to.equal(true);
  });
});
