import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { stores } from "../../schemas/topology.ts";
import { collect, within } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { createStore, type ObjectStore, openStore } from "./objects.ts";

const streamOf = (content: Uint8Array, piece = 65_536): ReadableStream<Uint8Array> => {
  let at = 0;
  return new ReadableStream({
    pull: (controller) => {
      if (at >= content.length) return controller.close();
      controller.enqueue(content.subarray(at, at + piece));
      at += piece;
    },
  });
};

const digest = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );

describe("openStore()", () => {
  let nats: TestNats;
  let bus: Bus;
  let store: ObjectStore;

  const damage = async (): Promise<void> => {
    const manager = await jetstreamManager(bus.nc);
    const last = await manager.streams.getMessage("OBJ_bundles", { last_by_subj: "$O.bundles.C.*" });
    if (!last) throw new Error("no chunk");
    await manager.streams.deleteMessage("OBJ_bundles", last.seq);
    await jetstream(bus.nc).publish(
      last.subject,
      last.data.map((byte) => byte ^ 1),
    );
  };

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("provider"), user: "provider", name: "test" });
    await createStore(bus, stores.bundles, 1);
    store = await openStore(bus, stores.bundles);
  });

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  it("gives 20 MB back as they were put", async () => {
    const content = randomBytes(20_000_000);
    await store.put("large", streamOf(content));
    expect(await store.size("large")).to.equal(content.length);
    expect(digest(await buffer(await store.get("large")))).to.equal(digest(content));
  });

  for (const size of [0, 1, 131_071, 131_072, 131_073])
    it(`gives ${size} bytes back, because a chunk's edge is no special case`, async () => {
      const content = randomBytes(size);
      await store.put("edge", streamOf(content));
      expect(await store.size("edge")).to.equal(size);
      expect(digest(await buffer(await store.get("edge")))).to.equal(digest(content));
    });

  it("takes any text as a name", async () => {
    for (const name of ["a b", "é/../x", "*.>", "sha256:ab"]) {
      await store.put(name, streamOf(Buffer.from(name)));
      expect((await buffer(await store.get(name))).toString()).to.equal(name);
    }
    expect(await store.list()).to.include.members(["a b", "é/../x", "*.>", "sha256:ab"]);
  });

  it("says not_found for what is not there, before a byte is read", async () => {
    expect(await rejection(store.get("nothing"))).to.have.property("code", "not_found");
    expect(await store.size("nothing")).to.equal(undefined);
    await store.remove("nothing");
  });

  it("says not_found for what was removed, and lists it no more", async () => {
    await store.put("gone", streamOf(Buffer.from("x")));
    await store.remove("gone");
    expect(await store.size("gone")).to.equal(undefined);
    expect(await store.list()).to.not.include("gone");
    expect(await rejection(store.get("gone"))).to.have.property("code", "not_found");
  });

  it("errors the stream of content that is not what was stored, instead of giving it out", async () => {
    await store.put("damaged", streamOf(randomBytes(300_000)));
    await damage();
    const error = await within(rejection(buffer(await store.get("damaged"))), "an error");
    expect(error).to.have.property("code", "internal");
    expect(String(error))
      .to.contain("object damaged is not what was stored")
      .and.to.match(/digest/);
  });

  it("keeps what was there when new content errors in the middle", async () => {
    await store.put("kept", streamOf(Buffer.from("old")));
    let pulls = 0;
    const failing = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulls += 1;
        if (pulls > 4) controller.error(new Error("the client went away"));
        else controller.enqueue(randomBytes(200_000));
      },
    });
    expect(String(await rejection(store.put("kept", failing)))).to.contain("the client went away");
    expect((await buffer(await store.get("kept"))).toString()).to.equal("old");
  });

  it("lets its reader go away in the middle without a trace", async () => {
    await store.put("left", streamOf(randomBytes(3_000_000)));
    const reader = (await store.get("left")).getReader();
    await reader.read();
    await reader.cancel();
    expect(await store.size("left")).to.equal(3_000_000);
  });

  it("errors the stream at once when the server goes away in the middle, and works again when it is back", async () => {
    await store.put("broken", streamOf(randomBytes(12_000_000)));
    const changes = collect<boolean>();
    const unlisten = bus.onChange(changes.push);
    const reader = (await store.get("broken")).getReader();
    const first = await reader.read();
    expect(first.done).to.equal(false);
    await nats.kill();
    await changes.reach(1);
    const readAll = async (): Promise<void> => {
      while (!(await reader.read()).done);
    };
    expect(await within(rejection(readAll()), "an error", 4000)).to.have.property("code", "bus_unavailable");
    expect(await within(rejection(store.get("broken")), "a rejection", 4000)).to.have.property(
      "code",
      "bus_unavailable",
    );
    await nats.restart();
    await changes.reach(2);
    unlisten();
    expect((await buffer(await store.get("broken"))).length).to.equal(12_000_000);
  });

  it("is rejected while there is no such store, so that its user tries again", async () => {
    const error = await rejection(openStore(bus, { name: "nowhere", description: "" }));
    expect(error).to.have.property("code", "bus_unavailable");
    expect(String(error)).to.contain("nowhere");
  });
});
