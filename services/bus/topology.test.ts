import { jetstream, jetstreamManager, type StreamInfo } from "@nats-io/jetstream";
import { expect } from "chai";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { queueSubject } from "../../schemas/subjects.ts";
import { buckets, maxPayloadBytes, stores, streams } from "../../schemas/topology.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { ensureTopology } from "./topology.ts";

const fixture = fileURLToPath(new URL("fixtures/ensure-topology.ts", import.meta.url));
const expectedNames = [
  ...Object.values(streams).map(({ name }) => name),
  ...Object.values(buckets).map(({ name }) => `KV_${name}`),
  ...Object.values(stores).map(({ name }) => `OBJ_${name}`),
].toSorted();

describe("ensureTopology()", () => {
  let nats: TestNats;
  let bus: Bus;
  const manager = () => jetstreamManager(bus.nc);
  const list = async (): Promise<readonly StreamInfo[]> => {
    const infos: StreamInfo[] = [];
    for await (const info of (await manager()).streams.list()) infos.push(info);
    return infos.toSorted((a, b) => a.config.name.localeCompare(b.config.name));
  };
  const removeAll = async (): Promise<void> => {
    for (const { config } of await list()) await (await manager()).streams.delete(config.name);
  };

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("provider"), user: "provider", name: "test" });
  });

  afterEach(removeAll);

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  it("makes every stream, bucket and store as schemas/topology.ts says", async () => {
    await ensureTopology(bus);
    expect((await list()).map(({ config }) => config.name).toSorted()).to.deep.equal(expectedNames);
    for (const definition of Object.values(streams)) {
      const { config } = await (await manager()).streams.info(definition.name);
      expect(config, definition.name).to.deep.include({
        subjects: [...definition.subjects],
        storage: definition.storage,
        retention: "retention" in definition ? definition.retention : "limits",
        discard: definition.discard,
        max_age: definition.maxAgeMs * 1e6,
        max_bytes: definition.maxBytes,
        duplicate_window: definition.duplicateWindowMs * 1e6,
        max_msgs_per_subject: "maxPerSubject" in definition ? definition.maxPerSubject : -1,
        num_replicas: 1,
      });
      expect(config.no_ack ?? false, definition.name).to.equal("noAck" in definition);
    }
  });

  it("changes nothing the second time", async () => {
    await ensureTopology(bus);
    const before = (await list()).map(({ config }) => config);
    await ensureTopology(bus);
    expect((await list()).map(({ config }) => config)).to.deep.equal(before);
  });

  it("may run in two processes and twice in this one at once, because services start together", async function () {
    this.timeout(60_000);
    const run = () =>
      promisify(execFile)(process.execPath, ["--import=tsx", fixture, nats.url, nats.credsFile("provider")]);
    await Promise.all([run(), run(), ensureTopology(bus), ensureTopology(bus)]);
    expect((await list()).map(({ config }) => config.name).toSorted()).to.deep.equal(expectedNames);
  });

  it("corrects what somebody has changed, and keeps the messages", async () => {
    await ensureTopology(bus);
    const { INVOCATIONS } = streams;
    await jetstream(bus.nc).publish(queueSubject("openfaas-fn", "fn", "normal"), "kept");
    await (await manager()).streams.update("INVOCATIONS", { max_age: 3600e9, max_bytes: 1_000_000, discard: "old" });
    await (await manager()).streams.update("KV_functions", { max_msgs_per_subject: 1 });
    await (await manager()).streams.update("OBJ_bundles", { description: "changed" });
    await ensureTopology(bus);
    const { config, state } = await (await manager()).streams.info("INVOCATIONS");
    expect(config).to.include({ max_age: INVOCATIONS.maxAgeMs * 1e6, max_bytes: INVOCATIONS.maxBytes, discard: "new" });
    expect(state.messages).to.equal(1);
    expect((await (await manager()).streams.info("KV_functions")).config.max_msgs_per_subject).to.equal(
      buckets.functions.history,
    );
    expect((await (await manager()).streams.info("OBJ_bundles")).config.description).to.equal(
      stores.bundles.description,
    );
  });

  it("takes away the streams of earlier versions, whose subjects others have now", async () => {
    await (await manager()).streams.add({ name: "METRICS", subjects: ["busker.metric.*.*.*"], storage: "memory" });
    await ensureTopology(bus);
    expect((await list()).map(({ config }) => config.name).toSorted()).to.deep.equal(expectedNames);
  });

  it("rejects as bus_unavailable what cannot be changed, naming the stream", async () => {
    await (await manager()).streams.add({ name: "SAMPLES", subjects: ["busker.metric.*.*.*"], storage: "memory" });
    const error = await ensureTopology(bus).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.have.property("code", "bus_unavailable");
    expect(String(error)).to.match(/stream SAMPLES: .*storage/i);
  });

  it("fits the server of nats.conf: its max_payload is maxPayloadBytes", () => {
    expect(bus.nc.info?.max_payload).to.equal(maxPayloadBytes);
  });
});
