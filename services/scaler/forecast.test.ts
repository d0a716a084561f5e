import { expect } from "chai";
import type { FunctionRecord } from "../../schemas/function.ts";
import type { LoadMinute } from "../../schemas/load.ts";
import type { ScaleExplanation } from "../../schemas/scaler.ts";
import { loadSubject, metricSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import { eventually } from "../../test/support/platform.ts";
import { publishEvent } from "../bus/events.ts";
import { readBack } from "../bus/read-back.ts";
import { readLoads } from "../bus/read-loads.ts";
import { publishDurably } from "../bus/streams.ts";
import { logOf } from "./fixtures/loads.ts";
import { recordOf, replicaSample, statusOf } from "./fixtures/samples.ts";
import { isActive, startTestScalers, type TestScalers } from "./fixtures/test-scalers.ts";

/*
 * Scalers on a real bus whose time of day is the test's: minutes pass when it says so.
 */
describe("scalers that keep a log and look ahead", function () {
  this.timeout(60_000);
  const minuteMs = 60_000;
  const namespace = "openfaas-fn";
  // A day ago: the server's clock is the real one.
  const begin = Math.floor(Date.now() / 3_600_000) * 60 - 24 * 60;
  let wallMs = begin * minuteMs;
  let scalers: TestScalers;

  const explain = (name: string): Promise<ScaleExplanation | undefined> => scalers.explain(name).catch(() => undefined);
  const numbersOf = async (name: string) => (await explain(name))?.latest?.numbers ?? {};
  const deploy = async (name: string, record: FunctionRecord): Promise<void> => {
    await scalers.functions.put(`${name}.${namespace}`, record);
    await scalers.status.put(`${name}.${namespace}`, statusOf(record.replicas === 0 ? {} : { r1: "ready" }));
    await eventually(`${name} to be known`, () => explain(name));
  };
  const foreseen = (name: string, replicas: number): FunctionRecord => {
    const record = recordOf(name, { zero: "true" }, { replicas, scaledBecause: "idle" });
    const labels = { ...record.spec.labels, "com.busker.scale.forecast": "true" };
    return { ...record, spec: { ...record.spec, labels } };
  };
  const write = async (name: string, log: readonly LoadMinute[]): Promise<void> => {
    for (const data of log)
      await publishDurably(scalers.admin, { subject: loadSubject(namespace, name), type: "io.busker.load", data });
  };
  const callsIn = async (name: string): Promise<readonly LoadMinute[]> =>
    (await readLoads(scalers.admin, { namespace, name })).filter(({ started }) => started > 0);
  const countOf = async (filter: string): Promise<number> => {
    let count = 0;
    for await (const messages of readBack(scalers.admin, { stream: streams.LOAD, filter, since: new Date(0) }))
      count += messages.length;
    return count;
  };

  before(async () => {
    scalers = await startTestScalers(() => wallMs);
  });
  after(() => scalers?.stop());

  it("starts a replica ahead of the call of each hour, and tells what that costs at most", async () => {
    const hourly = logOf({ from: begin - 10 * 60, until: begin + 1 }, (minute) =>
      minute % 60 === 0 ? { startMs: 20_000 } : undefined,
    );
    await write("cron", hourly);
    // 54 minutes after the call, less the twenty seconds that a replica takes to start.
    wallMs = (begin + 53) * minuteMs + 40_000;
    await deploy("cron", foreseen("cron", 0));
    expect(await scalers.firstWish("cron")).to.include({
      from: 0,
      replicas: 1,
      reason: "forecast: as many as calls are foreseen for (gaps)",
    });
    expect(await numbersOf("cron")).to.include({
      "replicas foreseen by its gaps": 1,
      // Until 66 minutes after the call.
      "costs at most if nobody calls, replica-seconds": 12 * 60 + 20,
    });
  });

  it("foresees nothing any more when the call does not come", async () => {
    wallMs = (begin + 67) * minuteMs;
    await eventually("its forecast to be over", async () =>
      (await explain("cron"))?.latest?.rule === "asleep" ? true : undefined,
    );
  });

  it("sees what the log is told of a function after it has read its past", async () => {
    const last = begin + 60;
    await write(
      "cron",
      logOf({ from: begin + 1, until: last + 1 }, (minute) => (minute === last ? {} : undefined)),
    );
    wallMs = (last + 55) * minuteMs;
    const told = await eventually("a forecast from then on", async () => {
      const { latest } = (await explain("cron")) ?? {};
      return latest?.numbers["replicas foreseen by its gaps"] === 1 ? latest : undefined;
    });
    expect(told.numbers["costs at most if nobody calls, replica-seconds"]).to.be.closeTo(11 * 60, 1);
  });

  it("says nothing of a function that does not ask for it", async () => {
    await write(
      "unasked",
      logOf({ from: begin - 10 * 60, until: begin + 61 }, (minute) => (minute % 60 === 0 ? {} : undefined)),
    );
    await deploy("unasked", recordOf("unasked", { zero: "true" }, { replicas: 0, scaledBecause: "idle" }));
    expect((await explain("unasked"))?.latest?.rule).to.equal("asleep");
  });

  it("writes each minute with calls once, though the one that was active is gone by its end", async () => {
    await deploy("busy", recordOf("busy"));
    const second = await scalers.open();
    // Its subscriptions are at the server.
    await second.bus.nc.flush();
    const call = (n: number): void => {
      const data = replicaSample(n, { started: 3, durations: { counts: [3], sum: 0.3 } });
      publishEvent(scalers.admin, { subject: metricSubject(namespace, "busy", "r1"), type: "io.busker.metric", data });
    };
    const isCounted = (n: number) =>
      eventually("the second to have counted it", async () =>
        (await second.metrics()).includes(`busker_scaler_samples_total{result="taken"} ${n}\n`) ? true : undefined,
      );
    call(1);
    await isCounted(1);
    // Each decides every second: when the first has done so a second and a half later, the second has meanwhile.
    const countedMs = Date.now();
    await eventually("both to have decided by it", async () => {
      const { latest } = (await explain("busy")) ?? {};
      return latest && Date.parse(latest.at) > countedMs + 1500 ? true : undefined;
    });
    wallMs += minuteMs;
    await eventually("the first minute in the log", async () => (await callsIn("busy")).length === 1 || undefined);
    await scalers.all[0]?.bus.nc.close();
    call(2);
    await isCounted(2);
    await eventually("the second to be active", () => isActive(second), 15_000);
    wallMs += minuteMs;
    await eventually("the second minute in the log", async () => (await callsIn("busy")).length === 2 || undefined);
    const [first, last] = await callsIn("busy");
    expect(last).to.deep.equal({ ...first, minute: (first?.minute ?? 0) + 1, quiet: 0 });
    expect(first).to.include({ started: 3, meanMs: 100 });
  });

  it("has a minute that is written again swallowed", async () => {
    const [first] = await callsIn("busy");
    if (!first) throw new Error("there is no minute");
    const subject = loadSubject(namespace, "busy");
    const before = await countOf(subject);
    await publishDurably(scalers.admin, {
      subject,
      type: "io.busker.load",
      data: first,
      id: `load.busy.openfaas-fn.${first.minute}`,
    });
    expect(await countOf(subject)).to.equal(before);
  });
});
