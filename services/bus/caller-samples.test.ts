import { expect } from "chai";
import { readSample } from "../../schemas/read-sample.ts";
import { openCallerSamples } from "./caller-samples.ts";
import { createRecordingBus } from "./fixtures/recording-bus.ts";
import type { CallCounts } from "./invoker.ts";

const name = { namespace: "openfaas-fn", name: "f" };
const idle: CallCounts = { waiting: 0, oldestWaitMs: 0, inFlight: 0, readyReplicas: 1 };

describe("openCallerSamples()", function () {
  this.timeout(60_000);
  const stops: (() => void)[] = [];
  const open = () => {
    const recording = createRecordingBus();
    const now = { counts: idle };
    const samples = openCallerSamples(recording.bus, { source: "gateway-1", counts: () => now.counts });
    stops.push(samples.stop);
    return { ...recording, samples, now };
  };
  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  it("tells what was counted, once, then that there is nothing, and then nothing", async () => {
    const { samples, published } = open();
    const calls = samples.of(name);
    calls.started();
    calls.started();
    calls.answered(200, 0.004);
    calls.answered(500, 2);
    const [first, second] = await published.reach(2);
    expect(first?.subject).to.equal("busker.metric.openfaas-fn.f.gateway-1");
    expect(first?.data).to.deep.include({ n: 1, started: 2, waiting: 0, inFlight: 0 });
    expect(first?.data["answered"]).to.deep.equal({
      "200": { counts: [0, 0, 1], sum: 0.004 },
      "500": { counts: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], sum: 2 },
    });
    expect(second?.data).to.deep.include({ n: 2, started: 0, answered: {} });
    samples.flush();
    expect(published.all, "nothing is left to tell").to.have.length(2);
  });

  it("tells samples that readers take", async () => {
    const { samples, published } = open();
    samples.of(name).started();
    samples.flush();
    const [sample] = await published.reach(1);
    expect(readSample("io.busker.metric.caller", JSON.stringify(sample?.data))).to.have.property("kind", "caller");
  });

  it("goes on telling while a call lasts, because silence would look like none", async () => {
    const { samples, published, now } = open();
    now.counts = { ...idle, inFlight: 1 };
    samples.of(name).started();
    const all = await published.reach(3);
    expect(all.map(({ data }) => data["inFlight"])).to.deep.equal([1, 1, 1]);
  });

  it("tells that calls are parked, the burst in one sample", async () => {
    const { samples, published, now } = open();
    for (let waiting = 1; waiting <= 50; waiting += 1) {
      now.counts = { ...idle, waiting, oldestWaitMs: 5 };
      samples.parked(name, waiting);
    }
    const [first] = await published.reach(1);
    expect(first?.data).to.deep.include({ waiting: 50, oldestWaitMs: 5 });
  });

  for (const [what, lengths, waiting, early] of [
    ["at once of a line that has doubled, but not ten times a second", [12, 20], 20, true],
    ["in its second of a line that goes up and down", [9, 12], 12, false],
  ] as const)
    it(`tells ${what}`, async () => {
      const { samples, published, now } = open();
      const park = (length: number): void => {
        now.counts = { ...idle, waiting: length };
        samples.parked(name, length);
      };
      park(10);
      await published.reach(1);
      for (const length of lengths) park(length);
      const [first, second] = await published.reach(2);
      expect(second?.data).to.include({ waiting });
      const betweenMs = (second?.atMs ?? 0) - (first?.atMs ?? 0);
      expect(betweenMs).to.be.greaterThan(80);
      expect(betweenMs < 700).to.equal(early);
    });

  it("keeps what it counts while the bus is away", async () => {
    const { samples, published, setConnected } = open();
    const calls = samples.of(name);
    setConnected(false);
    calls.started();
    samples.flush();
    calls.started();
    setConnected(true);
    samples.flush();
    const [sample] = await published.reach(1);
    expect(sample?.data).to.include({ n: 1, started: 2 });
  });

  it("drops what was counted of a function that is gone, and begins another start when it is back", async () => {
    const { samples, published } = open();
    const old = samples.of(name);
    old.started();
    samples.flush();
    old.started();
    samples.forget(name);
    old.answered(200, 1);
    samples.of(name).started();
    samples.flush();
    const [first, second] = await published.reach(2);
    expect(second?.data).to.deep.include({ n: 1, started: 1, answered: {} });
    expect(second?.data["start"]).to.not.equal(first?.data["start"]);
  });
});
