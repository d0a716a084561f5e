import { expect } from "chai";
import type { FunctionRecord } from "../../schemas/function.ts";
import { callSubject, metricSubject } from "../../schemas/subjects.ts";
import { buckets } from "../../schemas/topology.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { eventually } from "../../test/support/platform.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import { publishEvent } from "../bus/events.ts";
import { openBucket } from "../bus/kv.ts";
import { ensureTopology } from "../bus/topology.ts";
import { recordOf, replicaSample } from "./fixtures/samples.ts";
import { recallIdle } from "./recall-idle.ts";

const namespace = "openfaas-fn";
const sleepy = (name: string, more: Partial<FunctionRecord["spec"]> = {}): FunctionRecord => {
  const record = recordOf(name, { zero: "true" });
  return { ...record, spec: { ...record.spec, ...more } };
};

describe("recallIdle()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let admin: Bus;
  let scaler: Bus;
  const open = (user: "admin" | "scaler") =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });
  const tellDone = (name: string): void =>
    void publishEvent(admin, {
      subject: callSubject("done", namespace, name),
      type: "io.busker.call.done",
      data: { replica: "r1", calls: [] },
    });
  /** What is told with a sample of now. */
  const recall = async (records: readonly FunctionRecord[]): Promise<ReadonlyMap<string, number>> => {
    const subject = metricSubject(namespace, "any", "r1");
    publishEvent(admin, { subject, type: "io.busker.metric", data: replicaSample(1) });
    await admin.nc.flush();
    const told = new Map<string, number>();
    const all = new Map(records.map((record) => [record.spec.name, record]));
    await recallIdle(scaler, all, (key, idleMs) => told.set(key, idleMs));
    return told;
  };

  before(async () => {
    nats = await startTestNats();
    admin = await open("admin");
    await ensureTopology(admin);
    scaler = await open("scaler");
  });
  after(async () => {
    await scaler?.close();
    await admin?.close();
    await nats?.stop();
  });

  it("tells how long ago the last call was, by the server's clock, sooner by what happened since", async () => {
    tellDone("called");
    const idleMs = await eventually("half a second of idleness", async () => {
      const told = (await recall([sleepy("called")])).get("called") ?? 0;
      return told > 500 ? told : undefined;
    });
    publishEvent(admin, {
      subject: callSubject("queued", namespace, "called"),
      type: "io.busker.call.queued",
      data: { id: "c" } as never,
    });
    await eventually("less since it was called again", async () =>
      ((await recall([sleepy("called")])).get("called") ?? idleMs) < idleMs ? true : undefined,
    );
  });

  it("takes a deploy for activity", async () => {
    tellDone("deployed");
    const idleMs = await eventually("half a second of idleness", async () => {
      const told = (await recall([sleepy("deployed")])).get("deployed") ?? 0;
      return told > 500 ? told : undefined;
    });
    await (await openBucket<FunctionRecord>(admin, buckets.functions)).put("deployed.openfaas-fn", sleepy("deployed"));
    expect((await recall([sleepy("deployed")])).get("deployed")).to.be.lessThan(idleMs);
  });

  const untold: readonly (readonly [string, FunctionRecord])[] = [
    ["does not go to zero", recordOf("awake")],
    ["is kept by its annotation", sleepy("kept", { annotations: { "com.busker.zero": "keep" } })],
    ["is at zero", { ...sleepy("asleep"), replicas: 0 }],
    ["has no record of its calls", sleepy("secret", { annotations: { "com.busker.record": "none" } })],
  ];
  for (const [what, record] of untold)
    it(`says nothing of a function that ${what}`, async () => {
      tellDone(record.spec.name);
      expect([...(await recall([record])).keys()]).to.deep.equal([]);
    });

  it("says nothing of a function that was never called, because its record may just have run out", async () => {
    expect([...(await recall([sleepy("never")])).keys()]).to.deep.equal([]);
  });
});
