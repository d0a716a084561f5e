import { expect } from "chai";
import { eventExamples } from "../../../schemas/event-examples.ts";
import type { FunctionName } from "../../../schemas/names.ts";
import { metricSubject } from "../../../schemas/subjects.ts";
import { buckets } from "../../../schemas/topology.ts";
import { within } from "../../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { eventually } from "../../../test/support/platform.ts";
import { type Bus, openBus } from "../../bus/connection.ts";
import { purgeStream } from "../../bus/fixtures/purge-stream.ts";
import { openBucket } from "../../bus/kv.ts";
import { publishEvent } from "../../bus/events.ts";
import { retryUntilReady } from "../../bus/retry.ts";
import { createSampleSender } from "../../bus/sample-sender.ts";
import { ensureTopology } from "../../bus/topology.ts";
import type { Directory } from "../directory.ts";
import { invocationsOf } from "./function-totals.ts";
import { type OpenTotals, openTotals } from "./open-totals.ts";

const { "io.busker.metric.caller": caller } = eventExamples;

describe("openTotals()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let admin: Bus;
  let names = 0;
  const opened: { bus: Bus; totals: OpenTotals }[] = [];
  /** Functions that there are: by key, when they were deployed. */
  const functions = new Map<string, string>();

  const directory = {
    find: (key: string) => {
      const createdAt = functions.get(key);
      return createdAt === undefined ? undefined : { record: { createdAt } };
    },
    all: () => [],
    status: () => undefined,
  } as unknown as Directory;

  const open = async () => {
    const bus = await openBus({
      url: nats.url,
      credentialsFile: nats.credsFile("gateway"),
      user: "gateway",
      name: "gateway",
    });
    const totals = await retryUntilReady(() => openTotals(bus, directory));
    await within(totals.complete, "everything is counted");
    const gateway = { bus, totals };
    opened.push(gateway);
    return gateway;
  };
  const close = async (gateway: (typeof opened)[number]): Promise<void> => {
    opened.splice(opened.indexOf(gateway), 1);
    await gateway.totals.stop();
    await gateway.bus.close();
  };
  /** Without a last word: as a process that is killed. */
  const crash = async (gateway: (typeof opened)[number]): Promise<void> => {
    opened.splice(opened.indexOf(gateway), 1);
    await gateway.bus.nc.close();
    await gateway.totals.stop();
  };
  const deploy = (name: FunctionName): void => {
    const createdAt = `${(names += 1)}`;
    publishEvent(admin, {
      subject: metricSubject(name.namespace, name.name, "provider"),
      type: "io.busker.metric.deployed",
      data: { createdAt },
    });
    functions.set(`${name.name}.${name.namespace}`, createdAt);
  };
  const newFunction = (): FunctionName => {
    const name = { namespace: "openfaas-fn", name: `f${(names += 1)}` };
    deploy(name);
    return name;
  };
  const openCaller = (name: FunctionName) => {
    const series = createSampleSender(admin).open("io.busker.metric.caller", name, `gateway-${(names += 1)}`);
    const { start: _, n: __, ...rest } = caller.bare;
    return (count: number) =>
      series.send({ ...rest, started: count, answered: { "200": { counts: [count], sum: count } } });
  };
  const counted = (of: OpenTotals, name: FunctionName, count: number) =>
    eventually(`${count} calls of ${name.name} are counted`, () =>
      invocationsOf(of.of(name)) === count ? of.of(name) : undefined,
    );

  before(async () => {
    nats = await startTestNats();
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(admin);
  });
  afterEach(async () => {
    while (opened[0]) await close(opened[0]);
  });
  after(async () => {
    await admin?.close();
    await nats?.stop();
  });

  it("counts the same in every gateway, those that were there and those that come later", async () => {
    const name = newFunction();
    const send = openCaller(name);
    send(1);
    const [first, second] = [await open(), await open()];
    send(10);
    const totals = await counted(first.totals, name, 11);
    expect(await counted(second.totals, name, 11)).to.deep.equal(totals);
    const third = await open();
    expect(third.totals.of(name)).to.deep.equal(totals);
  });

  it("counts on from the snapshot that a gateway left, though the samples are gone", async () => {
    const name = newFunction();
    const send = openCaller(name);
    send(5);
    const first = await open();
    await counted(first.totals, name, 5);
    await close(first);
    await purgeStream(admin, "SAMPLES");
    send(2);
    const second = await open();
    expect(invocationsOf(second.totals.of(name))).to.equal(7);
  });

  it("counts everything once when a gateway dies between two snapshots", async () => {
    const name = newFunction();
    const send = openCaller(name);
    const first = await open();
    send(3);
    await counted(first.totals, name, 3);
    await crash(first);
    send(4);
    const second = await open();
    expect(invocationsOf(second.totals.of(name))).to.equal(7);
  });

  it("has another gateway write the snapshots when the one that did is gone", async () => {
    const name = newFunction();
    const send = openCaller(name);
    const first = await open();
    const second = await open();
    await close(first);
    send(6);
    await counted(second.totals, name, 6);
    const snapshots = await openBucket<{ readonly totals?: { readonly started: number } }>(admin, buckets.totals);
    const key = `${name.name}.${name.namespace}`;
    const isWritten = async () => (await snapshots.get(key))?.value.totals?.started === 6 || undefined;
    // A role that was not given back runs out.
    await eventually("the second has written one", isWritten, 25_000);
    await close(second);
    await purgeStream(admin, "SAMPLES");
    const third = await open();
    expect(invocationsOf(third.totals.of(name))).to.equal(6);
  });

  it("counts on when the server is killed and comes back", async () => {
    const name = newFunction();
    const send = openCaller(name);
    const { totals } = await open();
    send(1);
    await counted(totals, name, 1);
    await nats.kill();
    await nats.restart();
    await eventually("the caller is connected", () => send(10) || undefined);
    const before = await counted(totals, name, 11);
    const second = await open();
    expect(second.totals.of(name)).to.deep.equal(before);
  });

  it("counts once what is there when a server that was updated between two starts gives the stream another birthday", async () => {
    const name = newFunction();
    const { totals } = await open();
    // More starts of one source than a ledger remembers.
    const source = `gateway-${(names += 1)}`;
    const sender = createSampleSender(admin);
    const { start: _, n: __, ...rest } = caller.bare;
    const send = () => sender.open("io.busker.metric.caller", name, source).send({ ...rest, started: 1 });
    for (let at = 0; at < 5; at += 1) send();
    const startedOf = (count: number) => async () => totals.of(name).started === count || undefined;
    await eventually("all are counted", startedOf(5));
    const later = openCaller(name);
    for (let at = 1; at <= 2; at += 1) {
      await nats.kill();
      await nats.restart();
      await eventually("the server is back", () =>
        ensureTopology(admin).then(
          () => true as const,
          () => undefined,
        ),
      );
      later(1);
      await eventually("the reader goes on", startedOf(5 + at));
    }
    const second = await open();
    expect(second.totals.of(name)).to.deep.equal(totals.of(name));
    sender.stop();
  });

  it("knows nothing of a function that was removed, and begins at nothing when it is deployed again", async () => {
    const name = newFunction();
    const [old, other] = [openCaller(name), openCaller(name)];
    const first = await open();
    old(5);
    other(5);
    await counted(first.totals, name, 10);
    functions.delete(`${name.name}.${name.namespace}`);
    expect(invocationsOf(first.totals.of(name))).to.equal(0);
    deploy(name);
    // Told too late.
    other(5);
    openCaller(name)(2);
    await counted(first.totals, name, 2);
    const second = await open();
    expect(second.totals.of(name)).to.deep.equal(first.totals.of(name));
  });

  it("says what it has not counted", async () => {
    const name = newFunction();
    const { totals } = await open();
    admin.nc.publish(metricSubject(name.namespace, name.name, "f-1"), "no sample");
    await eventually("it is told", () => totals.dropped().invalid > 0 || undefined);
  });
});
