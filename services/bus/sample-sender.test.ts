import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { eventExamples } from "../../schemas/event-examples.ts";
import { metricSubject } from "../../schemas/subjects.ts";
import { collect } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { readSamples, type StoredSample } from "./read-samples.ts";
import { type SampleNumbers, takeNumber } from "./sample-numbers.ts";
import { retryUntilReady } from "./retry.ts";
import { createSampleSender } from "./sample-sender.ts";
import { ensureTopology } from "./topology.ts";

const queue = { seconds: 1, depth: 0, oldestMs: 0 };

describe("createSampleSender() and readSamples()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let bus: Bus;
  let names = 0;
  const stops: (() => void)[] = [];
  const newName = () => ({ namespace: "openfaas-fn", name: `f${(names += 1)}` });
  /** Reads everything about one function. */
  const read = async (of: string, after = { created: "", seq: 0 }) => {
    const samples = collect<StoredSample>();
    const faults = collect<string>();
    const stop = await readSamples(bus, after, {
      onSample: (sample) => {
        if (sample.function.name === of) samples.push(sample);
      },
      onFault: faults.push,
      onCaughtUp: () => {},
    });
    stops.push(stop);
    return { samples, faults, stop };
  };
  const numberOf = ({ sample }: StoredSample): number => (sample.kind === "queue" ? sample.data.n : 0);

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(bus);
  });
  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });
  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  it("numbers the samples of each series from 1, and each series has a start of its own", async () => {
    const name = newName();
    const sender = createSampleSender(bus);
    const [first, second] = [
      sender.open("io.busker.metric.queue", name, "s1"),
      sender.open("io.busker.metric.queue", name, "s1"),
    ];
    for (const series of [first, first, second]) expect(series.send(queue)).to.equal(true);
    const { samples } = await read(name.name);
    const all = await samples.reach(3);
    expect(all.map(numberOf)).to.deep.equal([1, 2, 1]);
    expect(new Set(all.map(({ sample }) => (sample.kind === "queue" ? sample.data.start : ""))).size).to.equal(2);
    expect(all[0]).to.deep.include({ function: name, source: "s1" });
    sender.stop();
  });

  it("has each sample arrive, and be told apart from its repeats, though the server is killed and comes back", async () => {
    const name = newName();
    const sender = createSampleSender(bus);
    const series = sender.open("io.busker.metric.queue", name, "s1");
    const { samples } = await read(name.name);
    let sent = 0;
    const timer = setInterval(() => {
      if (series.send(queue)) sent += 1;
    }, 1);
    await samples.reach(100);
    await nats.kill();
    await nats.restart();
    const before = samples.all.length;
    await samples.reach(before + 100);
    clearInterval(timer);
    let known: SampleNumbers | undefined;
    await samples.until((all) => all.some((sample) => numberOf(sample) === sent), "the last");
    for (const sample of samples.all) known = takeNumber(known, numberOf(sample)) ?? known;
    expect(known).to.deep.equal({ last: sent, missing: [] });
    sender.stop();
  });

  it("sends nothing while the server is away, and says so, because it would be counted as sent", async () => {
    const series = createSampleSender(bus).open("io.busker.metric.queue", newName(), "s1");
    const away = collect<boolean>();
    const unlisten = bus.onChange(away.push);
    await nats.kill();
    await away.reach(1);
    expect(series.send(queue)).to.equal(false);
    await nats.restart();
    await away.reach(2);
    // Its streams come back after its connections: what is sent before that is taken by none.
    await retryUntilReady(() => ensureTopology(bus));
    expect(series.send(queue)).to.equal(true);
    unlisten();
  });

  it("reads from behind a place, and all when the stream is another one by now", async () => {
    const name = newName();
    const series = createSampleSender(bus).open("io.busker.metric.queue", name, "s1");
    for (let at = 0; at < 3; at += 1) series.send(queue);
    const [, second] = await (await read(name.name)).samples.reach(3);
    const place = second?.position ?? { created: "", seq: 0 };
    // The server gives a stream another birthday at times; what it holds at the place tells whether it is another one.
    for (const same of [place, { ...place, created: "long ago" }]) {
      const rest = await (await read(name.name, same)).samples.reach(1);
      expect(rest.map(numberOf)).to.deep.equal([3]);
    }
    const other = { created: "long ago", seq: place.seq, storedMs: 1 };
    const all = await (await read(name.name, other)).samples.reach(3);
    expect(all.map(numberOf)).to.deep.equal([1, 2, 3]);
  });

  it("goes on reading in a stream that was made anew, though its numbers begin again", async () => {
    const name = newName();
    const series = createSampleSender(bus).open("io.busker.metric.queue", name, "s1");
    const { samples } = await read(name.name);
    for (let at = 0; at < 5; at += 1) series.send(queue);
    await samples.reach(5);
    await nats.kill();
    await rm(join(nats.dataFolder, "nats"), { recursive: true });
    await nats.restart();
    await retryUntilReady(() => ensureTopology(bus));
    series.send(queue);
    await samples.until((all) => all.some((sample) => numberOf(sample) === 6), "the sample after");
  });

  it("tells of what is no sample, and goes on", async () => {
    const name = newName();
    const { samples, faults } = await read(name.name);
    const subject = metricSubject(name.namespace, name.name, "f-1");
    bus.nc.publish(subject, "{");
    bus.nc.publish(subject, JSON.stringify(eventExamples["io.busker.metric"].full));
    createSampleSender(bus).open("io.busker.metric.queue", name, "s1").send(queue);
    await samples.reach(1);
    expect(faults.all).to.deep.equal([subject, subject]);
  });
});
