import { expect } from "chai";
import { readSample } from "../schemas/read-sample.ts";
import { createRecordingBus } from "../services/bus/fixtures/recording-bus.ts";
import { sampleReplica } from "./replica-samples.ts";

const name = { namespace: "openfaas-fn", name: "f", replica: "f-1" };

describe("sampleReplica()", function () {
  this.timeout(60_000);
  const stops: (() => void)[] = [];
  const open = () => {
    const recording = createRecordingBus();
    const now = { inFlight: 0, cpuSeconds: 2, memoryBytes: 1000, looks: 0 };
    const tree = {
      usage: () => {
        now.looks += 1;
        return { cpuSeconds: now.cpuSeconds, memoryBytes: now.memoryBytes, rootMemoryBytes: 0 };
      },
    };
    const samples = sampleReplica(recording.bus, name, { inFlight: () => now.inFlight, slots: 4 }, tree);
    stops.push(samples.stop);
    return { ...recording, samples, now };
  };
  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  it("tells once a second what was counted since the sample before", async () => {
    const { samples, published, now } = open();
    samples.began();
    samples.had(3);
    await published.reach(1);
    now.cpuSeconds = 2.5;
    samples.finished(200, 1500);
    const [first, second] = await published.reach(2);
    expect(first?.subject).to.equal("busker.metric.openfaas-fn.f.f-1");
    expect(first?.data).to.deep.include({ n: 1, started: 1, finished: {}, cpuSeconds: 2, slots: 4, memoryBytes: 1000 });
    expect(first?.data["waits"]).to.deep.equal({ counts: [0, 0, 1], sum: 0.003 });
    expect(second?.data).to.deep.include({ n: 2, started: 0, finished: { "200": 1 }, cpuSeconds: 0.5 });
    expect(second?.data["durations"]).to.deep.equal({ counts: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], sum: 1.5 });
    for (const { data } of [first, second].filter((each) => each !== undefined))
      expect(readSample("io.busker.metric", JSON.stringify(data))).to.have.property("kind", "replica");
  });

  it("goes on telling while a call lasts, and once more when it is over", async () => {
    const { samples, published, now } = open();
    now.inFlight = 1;
    samples.began();
    await published.reach(3);
    now.inFlight = 0;
    samples.finished(200, 2);
    const all = await published.reach(4);
    expect(all.map(({ data }) => data["inFlight"])).to.deep.equal([1, 1, 1, 0]);
  });

  it("says that it is there while it does nothing, every ten seconds, and does not look at itself in between", async () => {
    const { published, now } = open();
    const [first, second] = await published.reach(2, 14_000);
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).to.be.greaterThan(8000);
    expect(now.looks).to.equal(2);
  });

  it("keeps what it counts while the bus is away", () => {
    const { samples, published, now, setConnected } = open();
    setConnected(false);
    samples.began();
    samples.flush();
    now.cpuSeconds = 3;
    samples.began();
    setConnected(true);
    samples.flush();
    expect(published.all.map(({ data }) => [data["n"], data["started"], data["cpuSeconds"]])).to.deep.equal([
      [1, 2, 3],
    ]);
  });

  it("tells the last calls when it is asked to, because the replica ends or is frozen", () => {
    const { samples, published } = open();
    samples.began();
    samples.finished(200, 1);
    samples.flush();
    expect(published.all[0]?.data).to.deep.include({ started: 1, finished: { "200": 1 } });
    samples.flush();
    expect(published.all).to.have.length(1);
  });
});
