import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import type { BucketDefinition } from "../../schemas/topology.ts";
import { collect, within } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { type Bucket, type Change, createBucket, openBucket } from "./kv.ts";

interface Value {
  readonly n: number;
}

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );

const short = (change: Change<Value>): string =>
  change.kind === "put" ? `${change.entry.key}=${change.entry.value.n}` : `${change.key} gone`;

describe("openBucket()", () => {
  let nats: TestNats;
  let bus: Bus;
  let names = 0;
  const stops: (() => void)[] = [];

  const define = (more: Partial<BucketDefinition> = {}): BucketDefinition => {
    names += 1;
    return { name: `bucket${names}`, description: "for a test", history: 5, ttlMs: 0, ...more };
  };
  const make = async (
    more: Partial<BucketDefinition> = {},
  ): Promise<{ bucket: Bucket<Value>; definition: BucketDefinition }> => {
    const definition = define(more);
    await createBucket(bus, definition, 1);
    return { bucket: await openBucket<Value>(bus, definition), definition };
  };
  const watch = async (bucket: Bucket<Value>) => {
    const seen = collect<string>();
    const stop = await bucket.watch(
      (change) => seen.push(short(change)),
      () => seen.push("caught up"),
    );
    stops.push(stop);
    return { seen, stop };
  };
  const restart = async (how: "restart" | "kill", meanwhile: () => Promise<void> = async () => {}): Promise<void> => {
    const changes = collect<boolean>();
    const unlisten = bus.onChange(changes.push);
    if (how === "kill") await nats.kill();
    await meanwhile();
    await nats.restart();
    await changes.reach(2);
    unlisten();
  };

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("provider"), user: "provider", name: "test" });
  });

  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  describe("get(), put(), remove(), history()", () => {
    it("give what was put, with its revision; undefined for what is not or no longer there", async () => {
      const { bucket } = await make();
      expect(await bucket.get("fn.ns")).to.equal(undefined);
      const revision = await bucket.put("fn.ns", { n: 1 });
      expect(await bucket.get("fn.ns")).to.deep.equal({ key: "fn.ns", value: { n: 1 }, revision });
      await bucket.remove("fn.ns");
      expect(await bucket.get("fn.ns")).to.equal(undefined);
    });

    it("give the values a key had, newest first and without removals, as far back as the bucket keeps them", async () => {
      const { bucket } = await make({ history: 3 });
      expect(await bucket.history("fn.ns")).to.deep.equal([]);
      for (const n of [1, 2, 3]) await bucket.put("fn.ns", { n });
      expect((await bucket.history("fn.ns")).map(({ value }) => value.n)).to.deep.equal([3, 2, 1]);
      await bucket.remove("fn.ns");
      await bucket.put("fn.ns", { n: 4 });
      expect((await bucket.history("fn.ns")).map(({ value }) => value.n)).to.deep.equal([4, 3]);
    });

    it("say which key holds no JSON, because somebody has written it by hand", async () => {
      const { bucket, definition } = await make();
      await jetstream(bus.nc).publish(`$KV.${definition.name}.odd`, "not json");
      const error = await rejection(bucket.get("odd"));
      expect(error).to.have.property("code", "internal");
      expect(String(error)).to.contain("key odd of bucket").and.to.contain("not json");
    });
  });

  describe("create() and update()", () => {
    it("create a key once: the second is a conflict", async () => {
      const { bucket } = await make();
      await bucket.create("fn.ns", { n: 1 });
      expect(await rejection(bucket.create("fn.ns", { n: 2 }))).to.have.property("code", "conflict");
      expect((await bucket.get("fn.ns"))?.value).to.deep.equal({ n: 1 });
    });

    it("create a key again that was removed", async () => {
      const { bucket } = await make();
      await bucket.create("fn.ns", { n: 1 });
      await bucket.remove("fn.ns");
      const revision = await bucket.create("fn.ns", { n: 2 });
      expect(await bucket.get("fn.ns")).to.deep.equal({ key: "fn.ns", value: { n: 2 }, revision });
    });

    it("write over the revision given and no other, so that of two at once one is told", async () => {
      const { bucket } = await make();
      const first = await bucket.create("fn.ns", { n: 0 });
      const both = await Promise.allSettled([
        bucket.update("fn.ns", { n: 1 }, first),
        bucket.update("fn.ns", { n: 2 }, first),
      ]);
      expect(both.map(({ status }) => status).toSorted()).to.deep.equal(["fulfilled", "rejected"]);
      const lost = both.find((each) => each.status === "rejected");
      expect(lost?.reason).to.have.property("code", "conflict");
    });

    it("let one of twenty writers after the other count up, none lost", async () => {
      const { bucket } = await make();
      await bucket.create("count", { n: 0 });
      const increment = async (): Promise<void> => {
        for (;;) {
          const entry = await bucket.get("count");
          if (!entry) throw new Error("no count");
          const error = await rejection(bucket.update("count", { n: entry.value.n + 1 }, entry.revision));
          if (error === undefined) return;
          expect(error).to.have.property("code", "conflict");
        }
      };
      await Promise.all(Array.from({ length: 20 }, increment));
      expect((await bucket.get("count"))?.value.n).to.equal(20);
    });

    for (const revision of [0, -1])
      it(`reject a revision of ${revision} instead of throwing it, because none is below 1`, async () => {
        const { bucket } = await make();
        expect(await rejection(bucket.update("fn.ns", { n: 1 }, revision))).to.be.instanceOf(Error);
      });

    for (const key of ["", ".", "a.", ".a", "a..b", "a b", "a*", ">", "a.>", "é", "a\r\nb", "$KV"])
      it(`reject the key ${JSON.stringify(key)} as invalid_request, because the server takes no such subject token`, async () => {
        const { bucket } = await make();
        for (const act of [
          bucket.put(key, { n: 1 }),
          bucket.create(key, { n: 1 }),
          bucket.get(key),
          bucket.remove(key),
        ])
          expect(await rejection(act)).to.have.property("code", "invalid_request");
      });

    it("reject at once while the server is away, and work again when it is back", async () => {
      const { bucket } = await make();
      await restart("kill", async () => {
        for (const act of [() => bucket.put("a", { n: 1 }), () => bucket.get("a"), () => bucket.watch(() => {})])
          expect(await within(rejection(act()), "a rejection", 4000)).to.have.property("code", "bus_unavailable");
      });
      await bucket.put("a", { n: 1 });
    });

    it("say bus_unavailable when there is no such bucket", async () => {
      const bucket = await openBucket<Value>(bus, define());
      expect(await rejection(bucket.put("a", { n: 1 }))).to.have.property("code", "bus_unavailable");
      expect(await rejection(bucket.get("a"))).to.have.property("code", "bus_unavailable");
      expect(await rejection(bucket.watch(() => {}))).to.have.property("code", "bus_unavailable");
    });
  });

  describe("createBucket()", () => {
    it("corrects a bucket that is there with other settings and keeps its values", async () => {
      const { bucket, definition } = await make({ history: 5, ttlMs: 0 });
      await bucket.put("a", { n: 1 });
      await createBucket(bus, { ...definition, history: 2, ttlMs: 60_000, description: "otherwise" }, 1);
      const { config } = await (await jetstreamManager(bus.nc)).streams.info(`KV_${definition.name}`);
      expect(config).to.include({ max_msgs_per_subject: 2, max_age: 60_000 * 1e6, description: "otherwise" });
      expect((await bucket.get("a"))?.value).to.deep.equal({ n: 1 });
    });
  });

  describe("watch()", () => {
    it("says caught up at once on an empty bucket, then tells changes in order", async () => {
      const { bucket } = await make();
      const { seen } = await watch(bucket);
      expect(seen.all).to.deep.equal(["caught up"]);
      await bucket.put("a", { n: 1 });
      await bucket.put("a", { n: 2 });
      await bucket.remove("a");
      await bucket.create("a", { n: 3 });
      expect(await seen.reach(5)).to.deep.equal(["caught up", "a=1", "a=2", "a gone", "a=3"]);
    });

    it("tells the one key that is there, newest value only, then says caught up", async () => {
      const { bucket } = await make();
      for (const n of [1, 2, 3]) await bucket.put("a", { n });
      const { seen } = await watch(bucket);
      expect(await seen.reach(2)).to.deep.equal(["a=3", "caught up"]);
    });

    it("tells a thousand keys, then says caught up once", async () => {
      const { bucket } = await make({ history: 1 });
      await Promise.all(Array.from({ length: 1000 }, (_, n) => bucket.put(`k${n}`, { n })));
      const { seen } = await watch(bucket);
      await seen.reach(1001);
      await bucket.put("last", { n: 0 });
      await seen.reach(1002);
      expect(seen.all.indexOf("caught up")).to.equal(1000);
      expect(seen.all.filter((line) => line === "caught up")).to.have.length(1);
      expect(new Set(seen.all).size).to.equal(1002);
    });

    it("says caught up where every key was removed, because a removal leaves a trace that is no key", async () => {
      const { bucket } = await make();
      for (const key of ["a", "b", "c"]) {
        await bucket.put(key, { n: 1 });
        await bucket.remove(key);
      }
      const { seen } = await watch(bucket);
      await seen.reach(1);
      await bucket.put("d", { n: 1 });
      expect(await seen.reach(2)).to.deep.equal(["caught up", "d=1"]);
    });

    it("tells present keys and not removed ones, wherever the removals stand", async () => {
      const { bucket } = await make();
      for (const key of ["a", "b", "c", "d"]) await bucket.put(key, { n: 1 });
      await bucket.remove("a");
      await bucket.remove("d");
      const { seen } = await watch(bucket);
      await seen.reach(3);
      expect(seen.all).to.deep.equal(["b=1", "c=1", "caught up"]);
    });

    it("gives a removal a later revision than the value had, so that a reader can order them", async () => {
      const { bucket } = await make();
      const changes = collect<Change<Value>>();
      stops.push(await bucket.watch(changes.push));
      const revision = await bucket.put("a", { n: 1 });
      await bucket.remove("a");
      const [, gone] = await changes.reach(2);
      expect(gone).to.deep.equal({ kind: "gone", key: "a", revision: revision + 1 });
    });

    it("loses nothing that is written while it opens", async () => {
      const { bucket } = await make({ history: 1 });
      const writes = Promise.all(Array.from({ length: 300 }, (_, n) => bucket.put(`k${n}`, { n })));
      const { seen } = await watch(bucket);
      await writes;
      await seen.until((all) => new Set(all).size === 301, "300 keys and caught up");
    });

    it("passes over a value that is not JSON, says so, and goes on", async () => {
      const { bucket, definition } = await make();
      const warnings = collect<Error>();
      process.on("warning", warnings.push);
      await jetstream(bus.nc).publish(`$KV.${definition.name}.odd`, "{");
      const { seen } = await watch(bucket);
      await bucket.put("a", { n: 1 });
      expect(await seen.reach(2)).to.deep.equal(["caught up", "a=1"]);
      await warnings.until((all) => all.some(({ message }) => message.includes("odd")), "a warning");
      process.off("warning", warnings.push);
    });

    it("goes on when its user throws, because a watch that ends unseen is worse", async () => {
      const { bucket } = await make();
      const seen = collect<string>();
      stops.push(
        await bucket.watch((change) => {
          seen.push(short(change));
          throw new Error("a faulty user");
        }),
      );
      await bucket.put("a", { n: 1 });
      await bucket.put("a", { n: 2 });
      expect(await seen.reach(2)).to.deep.equal(["a=1", "a=2"]);
    });

    it("tells nothing after it is stopped", async () => {
      const { bucket } = await make();
      const { seen, stop } = await watch(bucket);
      stop();
      const other = await watch(bucket);
      await bucket.put("a", { n: 1 });
      await other.seen.reach(2);
      expect(seen.all).to.deep.equal(["caught up"]);
    });

    for (const how of ["restart", "kill"] as const)
      it(`goes on after a ${how} of the server within two seconds, and tells nothing twice`, async () => {
        const { bucket } = await make();
        await bucket.put("a", { n: 1 });
        await bucket.put("b", { n: 1 });
        const { seen } = await watch(bucket);
        await seen.reach(3);
        await restart(how);
        await bucket.put("a", { n: 2 });
        await seen.reach(4, 10_000);
        await bucket.remove("b");
        expect(await seen.reach(5)).to.deep.equal(["a=1", "b=1", "caught up", "a=2", "b gone"]);
      });

    it("tells what changed while it was away, removals among it, and traceless ones too", async () => {
      const { bucket, definition } = await make({ history: 1 });
      for (const key of ["changed", "kept", "purged", "removed"]) await bucket.put(key, { n: 1 });
      const second = await openBus({
        url: nats.url,
        credentialsFile: nats.credsFile("admin"),
        user: "admin",
        name: "second",
      });
      const { seen } = await watch(bucket);
      await seen.reach(5);
      // Cuts this connection only, and holds it back long enough for the other to write.
      const before = bus.nc.reconnect();
      const writer = await openBucket<Value>(second, definition);
      await writer.put("changed", { n: 2 });
      await writer.put("new", { n: 1 });
      await writer.remove("removed");
      await (
        await jetstreamManager(second.nc)
      ).streams.purge(`KV_${definition.name}`, { filter: `$KV.${definition.name}.purged` });
      await before;
      await seen.reach(9);
      expect(seen.all.slice(5).toSorted()).to.deep.equal(["changed=2", "new=1", "purged gone", "removed gone"]);
      await second.close();
    });

    it("begins anew on a bucket that was made anew, though its revisions are lower", async () => {
      const { bucket, definition } = await make();
      for (const n of [1, 2, 3]) await bucket.put("a", { n });
      await bucket.put("b", { n: 1 });
      const { seen } = await watch(bucket);
      await seen.reach(3);
      await (await jetstreamManager(bus.nc)).streams.delete(`KV_${definition.name}`);
      await createBucket(bus, definition, 1);
      await bucket.put("a", { n: 9 });
      await restart("restart");
      await seen.reach(5);
      expect(seen.all.slice(3).toSorted()).to.deep.equal(["a=9", "b gone"]);
    });
  });
});
