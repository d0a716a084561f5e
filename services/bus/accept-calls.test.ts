import { once } from "node:events";
import { expect } from "chai";
import { queueAnyFilter } from "../../schemas/subjects.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { eventually } from "../../test/support/platform.ts";
import { takeQueued } from "../../test/support/queue.ts";
import { type CallAcceptor, createAcceptor, queuedRecord } from "./accept-calls.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "./acknowledged.ts";
import { chainedCallId } from "./call-ids.ts";
import { type CallRecords, openCallRecords } from "./call-records.ts";
import { type Bus, openBus } from "./connection.ts";
import type { DurableCall } from "./durable-call.ts";
import { ensureTopology } from "./topology.ts";

const [queuePrefix = ""] = queueAnyFilter.split("*");

describe("createAcceptor()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let bus: Bus;
  let acknowledged: AcknowledgedPublisher;
  let records: CallRecords;
  let acceptor: CallAcceptor;

  let counted: string[];

  beforeEach(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(bus);
    acknowledged = openAcknowledged(bus);
    records = await openCallRecords(bus, acknowledged);
    counted = [];
    acceptor = createAcceptor({ bus, acknowledged, records, onAccepted: ({ name }) => counted.push(name) });
  });

  afterEach(async () => {
    acknowledged?.close();
    await bus?.close();
    await nats?.stop();
  });

  const callOf = (id: string, name = "echo"): DurableCall => ({
    id,
    function: { namespace: "openfaas-fn", name },
    priority: "normal",
    head: { method: "POST", path: "/", headers: ["X-Call-Id", id] },
    queuedMs: Date.now(),
    body: Buffer.from("hello"),
  });

  it("has the call queued and on record, once, however often it is given", async () => {
    const first = await acceptor.accept(callOf("a"));
    const second = await acceptor.accept(callOf("a"));
    expect([first.isDuplicate, second.isDuplicate, second.id]).to.deep.equal([false, true, "a"]);
    expect((await records.read("a"))?.record.state).to.equal("queued");
    expect((await takeQueued(bus)).map(({ id }) => id)).to.deep.equal(["a"]);
    expect(counted).to.deep.equal(["echo"]);
  });

  it("leaves a record that a queue-worker was faster to write", async () => {
    const record = { ...queuedRecord(callOf("a")), state: "running" as const };
    await records.write({ record, request: Buffer.alloc(0), response: Buffer.alloc(0) }, 0);
    expect(await acceptor.accept(callOf("a"))).to.include({ id: "a", isDuplicate: false });
    expect((await records.read("a"))?.record.state).to.equal("running");
  });

  it("gives a call an id of its own whose id has become another function's meanwhile", async () => {
    await acceptor.accept(callOf("a", "other"));
    const { id } = await acceptor.accept(callOf("a"));
    expect(id).to.equal(chainedCallId(callOf("a").function, "a"));
    expect((await records.read(id))?.record).to.deep.include({ parent: "a", function: callOf("a").function });
    expect(counted).to.deep.equal(["other", "echo"]);
    const queued = (await takeQueued(bus)).map((call) => [call.function.name, call.id]);
    // The second one has no record: who meets it accepts it in its own name, once more.
    expect(queued).to.deep.equal([
      ["other", "a"],
      ["echo", "a"],
      ["echo", id],
    ]);
  });

  it("has accepted a call though the server is killed before its record is written", async () => {
    const killing: AcknowledgedPublisher = {
      ...acknowledged,
      publish: async (subject, payload, headers) => {
        const ack = await acknowledged.publish(subject, payload, headers);
        if (subject.startsWith(queuePrefix)) await nats.kill();
        return ack;
      },
    };
    const [warned, accepted] = await Promise.all([
      once(process, "warning"),
      createAcceptor({ bus, acknowledged: killing, records: await openCallRecords(bus, killing) }).accept(callOf("a")),
    ]);
    expect(String(warned[0])).to.contain("could not write the record of call a");
    expect(accepted).to.include({ id: "a", isDuplicate: false });
    await nats.restart();
    await eventually("the connection is back", () => (bus.isConnected() ? true : undefined));
    expect(await records.read("a")).to.equal(undefined);
    // The server remembers what it has, so that a client that asks again has it run once.
    expect((await acceptor.accept(callOf("a"))).isDuplicate).to.equal(true);
    expect((await takeQueued(bus)).map(({ id }) => id)).to.deep.equal(["a"]);
  });
});
