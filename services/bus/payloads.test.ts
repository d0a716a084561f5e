import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { BuskerError } from "../../schemas/errors.ts";
import { stores } from "../../schemas/topology.ts";
import { within } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { createStore, type ObjectStore, openStore } from "./objects.ts";
import { putPayload } from "./payloads.ts";

const inPieces = async function* (content: Uint8Array, piece = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += piece) yield content.subarray(at, at + piece);
};

describe("putPayload()", () => {
  let nats: TestNats;
  let bus: Bus;
  let store: ObjectStore;

  before(async () => {
    nats = await startTestNats();
    const provider = await openBus({
      url: nats.url,
      credentialsFile: nats.credsFile("provider"),
      user: "provider",
      name: "test",
    });
    await createStore(provider, stores.payloads, 1);
    await provider.close();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("gateway"), user: "gateway", name: "test" });
    store = await openStore(bus, stores.payloads);
  });

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  const messagesKept = async (): Promise<number> =>
    (await (await jetstreamManager(bus.nc, { checkAPI: false })).streams.info("OBJ_payloads")).state.messages;

  const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => undefined,
      (error: unknown) => (error instanceof BuskerError ? error.code : error),
    );

  it("stores a body as it comes, and says where it is", async () => {
    const content = randomBytes(3_000_000);
    const kept = await putPayload(store, "any id: ü", inPieces(content), 3_000_000);
    expect(kept).to.include({ place: "payload", bytes: 3_000_000 });
    expect((await buffer(await store.get(kept.name))).equals(content)).to.equal(true);
  });

  it("gives two bodies of one id names of their own, because two may give the same id at once", async () => {
    const [one, other] = await Promise.all(
      ["one", "other"].map((text) => putPayload(store, "same", inPieces(Buffer.from(text)), 10)),
    );
    expect(one?.name).to.not.equal(other?.name);
    expect((await buffer(await store.get(one?.name ?? ""))).toString()).to.equal("one");
  });

  it("refuses a body as soon as it is too large, reads no more of it, and leaves nothing", async () => {
    const before = await messagesKept();
    let given = 0;
    let isLeft = false;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc((given += 100_000) && 100_000);
      } finally {
        isLeft = true;
      }
    };
    expect(await within(codeOf(putPayload(store, "c", endless(), 1_000_000)), "a refusal")).to.equal("body_too_large");
    expect(given).to.be.at.most(1_200_000);
    expect(isLeft).to.equal(true);
    expect(await messagesKept()).to.equal(before);
  });

  it("fails as the body itself does, and leaves nothing", async () => {
    const before = await messagesKept();
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(randomBytes(500_000));
      throw new BuskerError("cancelled", "the client is gone");
    };
    expect(await codeOf(putPayload(store, "c", broken(), 1_000_000))).to.equal("cancelled");
    expect(await messagesKept()).to.equal(before);
  });

  it("is read at the pace at which it is taken, however large it is", async () => {
    const kept = await putPayload(store, "large", inPieces(randomBytes(20_000_000)), 20_000_000);
    const before = bus.nc.stats().inBytes;
    const body = (await store.get(kept.name)).getReader();
    await body.read();
    await bus.nc.flush();
    // A moment for what might come beyond: as long as reading ten others takes.
    for (let at = 0; at < 10; at += 1)
      await buffer(await store.get((await putPayload(store, "s", inPieces(Buffer.from("s")), 1)).name));
    expect(bus.nc.stats().inBytes - before).to.be.lessThan(3_000_000);
    await body.cancel();
  });
});
