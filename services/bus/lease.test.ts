import { expect } from "chai";
import { collect, openGate, within } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { createBucket, openBucket } from "./kv.ts";
import { holdLease, type Lease } from "./lease.ts";

/** Of a role that is given back long before it runs out. */
const lasting = { name: "lasting-leases", description: "Roles that last", history: 1, ttlMs: 120_000 };

const quick = { name: "quick-leases", description: "Roles that run out soon", history: 1, ttlMs: 2500 };

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

describe("holdLease()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  const buses: Bus[] = [];

  const open = async (name: string): Promise<Bus> => {
    const bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name });
    buses.push(bus);
    return bus;
  };

  /** Somebody who would have the role; what happens is put into `seen` as `<name> began` and `<name> ended`. */
  const seek = async (role: string, name: string, seen: { readonly push: (text: string) => void }, bucket = quick) => {
    const bus = await open(name);
    const work = async (signal: AbortSignal): Promise<void> => {
      seen.push(`${name} began`);
      await untilAborted(signal);
      seen.push(`${name} ended`);
    };
    return { bus, lease: await holdLease(bus, { role, work, bucket }) };
  };

  before(async () => {
    nats = await startTestNats();
    const bus = await open("test");
    for (const bucket of [quick, lasting]) await createBucket(bus, bucket, 1);
  });

  after(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    await nats?.stop();
  });

  it("gives a role to one at a time, and to the next when it is given back", async () => {
    const seen = collect<string>();
    const first = await seek("given-back", "first", seen, lasting);
    await seen.reach(1);
    const second = await seek("given-back", "second", seen, lasting);
    expect([first.lease.isHeld(), second.lease.isHeld()]).to.deep.equal([true, false]);
    await first.lease.stop();
    expect(first.lease.isHeld()).to.equal(false);
    await seen.reach(3);
    expect(seen.all).to.deep.equal(["first began", "first ended", "second began"]);
    await second.lease.stop();
  });

  it("keeps it for longer than a value lives", async () => {
    const seen = collect<string>();
    const first = await seek("kept", "first", seen);
    const second = await seek("kept", "second", seen);
    await seen.reach(1);
    const other = collect<number>();
    const timer = setInterval(() => other.push(1), quick.ttlMs);
    await other.reach(2);
    clearInterval(timer);
    expect(seen.all.length).to.equal(1);
    await Promise.all([first.lease.stop(), second.lease.stop()]);
  });

  it("passes on the role of one who is gone without a word, who knows it by then", async () => {
    const seen = collect<string>();
    const first = await seek("killed", "first", seen);
    await seen.reach(1);
    const second = await seek("killed", "second", seen);
    await first.bus.nc.close();
    await seen.reach(3, 10_000);
    expect(seen.all).to.deep.equal(["first began", "first ended", "second began"]);
    expect(first.lease.isHeld()).to.equal(false);
    await Promise.all([first.lease.stop(), second.lease.stop()]);
  });

  it("knows that it has lost a role which somebody took by force", async () => {
    const seen = collect<string>();
    const { bus, lease } = await seek("robbed", "first", seen);
    await seen.reach(1);

    await (await openBucket(bus, quick)).put("robbed", { holder: "somebody", name: "else" });
    await seen.reach(2);
    expect(lease.isHeld()).to.equal(false);
    await lease.stop();
  });

  it("has it again after a restart of the server that took longer than it lives", async () => {
    const seen = collect<string>();
    const { lease } = await seek("restarted", "first", seen);
    await seen.reach(1);
    await nats.kill();
    await seen.reach(2);
    expect(lease.isHeld()).to.equal(false);
    await nats.restart();
    await seen.reach(3, 15_000);
    await lease.stop();
  });

  it("gives a role back whose work has ended or failed, and seeks it again", async () => {
    const bus = await open("failing");
    const begun = collect<number>();
    const done = openGate();
    const work = async (signal: AbortSignal): Promise<void> => {
      begun.push(1);
      if (begun.all.length === 1) throw new Error("the first time fails");
      if (begun.all.length === 2) return;
      done.open();
      await untilAborted(signal);
    };
    const lease: Lease = await holdLease(bus, { role: "failing", work, bucket: quick });
    await within(done.opened, "the third time");
    expect(lease.isHeld()).to.equal(true);
    await lease.stop();
  });

  it("stops while it only seeks", async () => {
    const seen = collect<string>();
    const first = await seek("sought", "first", seen);
    await seen.reach(1);
    const second = await seek("sought", "second", seen);
    await within(second.lease.stop(), "its stop");
    expect(first.lease.isHeld()).to.equal(true);
    await first.lease.stop();
    expect(seen.all).to.deep.equal(["first began", "first ended"]);
  });
});
