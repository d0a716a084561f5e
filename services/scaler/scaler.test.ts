import { expect } from "chai";
import type { FunctionRecord } from "../../schemas/function.ts";
import type { SampleData, SampleType } from "../../schemas/sample.ts";
import { metricSubject } from "../../schemas/subjects.ts";
import { eventually } from "../../test/support/platform.ts";
import { publishEvent } from "../bus/events.ts";
import { HeaderBlock } from "../bus/headers.ts";
import { callerSample, recordOf, replicaSample, statusOf } from "./fixtures/samples.ts";
import { isActive, startTestScalers, type TestScalers } from "./fixtures/test-scalers.ts";

describe("openScaler()", function () {
  this.timeout(60_000);
  let scalers: TestScalers;
  const slotted = { envVars: { max_inflight: "1" } };

  const say = <T extends SampleType>(name: string, source: string, type: T, data: SampleData[T]): void =>
    void publishEvent(scalers.admin, {
      subject: metricSubject("openfaas-fn", name, source),
      type,
      data: data as never,
    });
  const deploy = async (name: string, record: FunctionRecord, ready = ["r1"]): Promise<void> => {
    await scalers.functions.put(`${name}.openfaas-fn`, record);
    await scalers.status.put(`${name}.openfaas-fn`, statusOf(Object.fromEntries(ready.map((id) => [id, "ready"]))));
  };
  const isKnown = (name: string): Promise<true> =>
    eventually(`${name} to be known`, async () =>
      (await scalers.explain(name).catch(() => undefined)) ? true : undefined,
    );

  before(async () => {
    scalers = await startTestScalers();
  });
  after(() => scalers?.stop());

  it("wishes for more as soon as calls have to wait, saying from which count and why", async () => {
    await deploy("burst", recordOf("burst", {}, slotted));
    await isKnown("burst");
    say("burst", "gateway-1", "io.busker.metric.caller", callerSample(1, { waiting: 4 }));
    expect(await scalers.firstWish("burst")).to.deep.equal({
      name: "burst",
      replicas: 5,
      from: 1,
      reason: "up: the load asks for more (slots)",
    });
  });

  it("goes on as replicas come up, a few ahead of those that are ready", async () => {
    await deploy("rising", recordOf("rising", { max: "40" }, slotted), ["r1"]);
    await isKnown("rising");
    for (let n = 1; n <= 3; n += 1)
      say("rising", "gateway-1", "io.busker.metric.caller", callerSample(n, { waiting: 100 }));
    expect((await scalers.firstWish("rising"))?.replicas).to.equal(9);
    const ready = Array.from({ length: 9 }, (_, at) => `r${at}`);
    await deploy("rising", recordOf("rising", { max: "40" }, { ...slotted, replicas: 9, scaledBecause: "up" }), ready);
    await scalers.wishes.until(
      (all) => all.some(({ name, replicas }) => name === "rising" && replicas === 18),
      "the next step",
    );
  });

  it("takes nothing but samples of functions that there are", async () => {
    await deploy("sober", recordOf("sober", { target: "1" }));
    await isKnown("sober");
    const subject = metricSubject("openfaas-fn", "sober", "r1");
    scalers.admin.nc.publish(subject, "nonsense");
    publishEvent(scalers.admin, { subject, type: "io.busker.metric", data: "nonsense" as never });
    say("sober", "r1", "io.busker.metric", replicaSample(1, { started: -5 }));
    say("sober", "r1", "io.busker.metric", replicaSample(2, { started: "1e9" as never }));
    say("sober", "r1", "io.busker.metric", replicaSample(3, { durations: { counts: [null as never], sum: 1 } }));
    say("nobody", "r1", "io.busker.metric", replicaSample(1, { started: 100 }));
    say("sober", "r1", "io.busker.metric", replicaSample(4, { started: 2 }));
    const { latest } = await eventually("its load", async () => {
      const told = await scalers.explain("sober");
      return told.latest?.numbers["calls begun per second"] === 0 ? undefined : told;
    });
    expect(latest?.numbers["calls begun per second"]).to.equal(2);
    expect(await scalers.all[0]?.metrics()).to.match(/busker_scaler_samples_total\{result="passed_over"\} [1-9]/);
  });

  it("takes samples as of when they come, whatever their sender's clock says", async () => {
    await deploy("clocks", recordOf("clocks", { target: "1" }));
    await isKnown("clocks");
    const subject = metricSubject("openfaas-fn", "clocks", "r1");
    for (const [n, minutes] of [
      [1, -10],
      [2, 10],
    ] as const) {
      const data = replicaSample(n, { started: 20 });
      const time = new Date(Date.now() + minutes * 60_000).toISOString();
      const headers = HeaderBlock.of(`ce-specversion: 1.0\r\nce-type: io.busker.metric\r\nce-time: ${time}\r\n`);
      scalers.admin.nc.publish(subject, JSON.stringify(data), { headers });
    }
    await eventually("both to count", async () => {
      const { latest } = await scalers.explain("clocks");
      return latest?.numbers["calls begun per second"] === 4 ? true : undefined;
    });
  });

  it("explains its latest decision and the last that changed something, with the numbers", async () => {
    const told = await scalers.explain("burst");
    expect(told.lastChange).to.include({ rule: "up", replicas: 5, from: 1, because: "the load asks for more (slots)" });
    expect(told.latest?.numbers).to.include({ "replicas ready": 1, "least replicas": 1, "most replicas": 20 });
  });

  it("says of a function that it does not know that it does not", async () => {
    const error = await scalers.explain("unheard-of").catch((cause: unknown) => cause);
    expect(error).to.have.property("code", "function_not_found");
  });

  it("forgets a function that is removed", async () => {
    await deploy("gone", recordOf("gone"));
    await isKnown("gone");
    await scalers.functions.remove("gone.openfaas-fn");
    await eventually("its end", () =>
      scalers.explain("gone").then(
        () => undefined,
        () => true,
      ),
    );
  });

  it("leaves counts as they are when it is gone without a word, and another carries on with all it knows", async () => {
    const second = await scalers.open();
    await deploy("steady", recordOf("steady", {}, { ...slotted, replicas: 3, scaledBecause: "up" }), [
      "r1",
      "r2",
      "r3",
    ]);
    await isKnown("steady");
    expect(await isActive(second)).to.equal(undefined);
    const [first] = scalers.all;
    await first?.bus.nc.close();
    await eventually("the second to be active", () => isActive(second), 15_000);
    say("steady", "gateway-1", "io.busker.metric.caller", callerSample(1, { waiting: 2 }));
    await scalers.firstWish("steady");
    expect(scalers.wishes.all.filter(({ name }) => name === "steady").map(({ replicas }) => replicas)).to.deep.equal([
      5,
    ]);
  });
});
