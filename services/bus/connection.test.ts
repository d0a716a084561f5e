import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NoRespondersError, RequestError } from "nats";
import { collect, within } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type Bus, openBus } from "./connection.ts";
import { openTrust } from "./trust.ts";

const codeOf = (error: unknown): string => (error instanceof BuskerError ? error.code : String(error));

describe("openBus()", () => {
  let nats: TestNats;
  let bus: Bus;
  let other: Bus;
  const open = (name: string) =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name });

  before(async () => {
    nats = await startTestNats();
    [bus, other] = await Promise.all([open("one"), open("other")]);
  });

  after(async () => {
    await bus?.close();
    await other?.close();
    await nats?.stop();
  });

  it("takes its user's reply prefix, so that no plain inbox is listened to", async () => {
    const replies = collect<string | undefined>();
    bus.nc.subscribe("busker.test.reply", {
      callback: (_, message) => {
        replies.push(message.reply);
        message.respond();
      },
    });
    await bus.nc.flush();
    await other.nc.request("busker.test.reply");
    expect(replies.all[0]).to.match(/^_BUSKER\.admin\./);
  });

  it("gives no-responders at once, because a missing replica is an answer and not a timeout", async () => {
    const error = await bus.nc.request("busker.test.nobody", "", { timeout: 10_000 }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(RequestError);
    expect((error as RequestError).isNoResponders() || error instanceof NoRespondersError).to.equal(true);
  });

  it("keeps order and bytes when small and large messages are mixed, because large ones go another way", async () => {
    const got = collect<string>();
    const digest = (bytes: Uint8Array): string => `${bytes.length} ${createHash("sha256").update(bytes).digest("hex")}`;
    other.nc.subscribe("busker.test.mixed", { callback: (_, message) => got.push(digest(message.data)) });
    await other.nc.flush();
    const sizes = [5, 16_384, 0, 300_000, 7, 7, 16_383, 1_000_000, 40_000, 40_000, 3];
    const bodies = Array.from({ length: 40 }, (_, at) => randomBytes(sizes[at % sizes.length] ?? 0));
    for (const [at, body] of bodies.entries()) {
      if (at % 7 === 0) await bus.nc.flush();
      bus.nc.publish("busker.test.mixed", body);
    }
    await bus.nc.flush();
    await other.nc.flush();
    expect(got.all).to.deep.equal(bodies.map(digest));
  });

  it("sends what was published before close(), because close drains", async () => {
    const got = collect<string>();
    other.nc.subscribe("busker.test.last", { callback: (_, message) => got.push(message.string()) });
    await other.nc.flush();
    const leaving = await open("leaving");
    for (let n = 0; n < 100; n += 1) leaving.nc.publish("busker.test.last", String(n));
    await leaving.close();
    expect((await got.reach(100)).at(-1)).to.equal("99");
    expect(leaving.isConnected()).to.equal(false);
    expect(() => leaving.assertConnected()).to.throw(BuskerError);
  });

  for (const how of ["restart", "kill"] as const)
    it(`survives a ${how} of the server without its user noticing`, async () => {
      const changes = collect<boolean>();
      const unlisten = bus.onChange(changes.push);
      const back = collect<boolean>();
      const unlistenOther = other.onChange(back.push);
      const got = collect<string>();
      const subscription = other.nc.subscribe(`busker.test.${how}`, {
        callback: (_, message) => got.push(message.string()),
      });
      await other.nc.flush();
      if (how === "kill") await nats.kill();
      const restarted = how === "kill" ? undefined : nats.restart();
      await changes.reach(1);
      expect(bus.isConnected()).to.equal(false);
      expect(() => bus.assertConnected())
        .to.throw(BuskerError)
        .with.property("code", "bus_unavailable");
      await (restarted ?? nats.restart());
      await changes.reach(2);
      await back.reach(2);
      bus.assertConnected();
      // The server has the other's subscription again once it answers what came after it.
      await other.nc.flush();
      bus.nc.publish(`busker.test.${how}`, "after");
      await got.reach(1);
      expect(changes.all).to.deep.equal([false, true]);
      expect(got.all).to.deep.equal(["after"]);
      unlisten();
      unlistenOther();
      subscription.unsubscribe();
    });

  it("tells every listener of a change, though one throws", async () => {
    const warnings = collect<Error>();
    process.on("warning", warnings.push);
    const changes = collect<boolean>();
    const stops = [
      bus.onChange(() => {
        throw new Error("a faulty listener");
      }),
      bus.onChange(changes.push),
    ];
    const back = collect<boolean>();
    stops.push(other.onChange(back.push));
    await nats.restart();
    await changes.reach(2);
    await back.reach(2);
    await warnings.until(
      (all) => all.filter(({ message }) => message.includes("a faulty listener")).length === 2,
      "two warnings",
    );
    process.off("warning", warnings.push);
    for (const stop of stops) stop();
  });

  it("goes on hearing when a callback throws, because one bad message must not make a process deaf", async () => {
    const warnings = collect<Error>();
    process.on("warning", warnings.push);
    const got = collect<string>();
    bus.nc.subscribe("busker.test.bad", { callback: (_, message) => message.json() });
    bus.nc.subscribe("busker.test.good", { callback: (_, message) => got.push(message.string()) });
    await bus.nc.flush();
    other.nc.publish("busker.test.bad", "{");
    other.nc.publish("busker.test.good", "heard");
    await got.reach(1);
    await warnings.until((all) => all.some(({ message }) => message.includes("busker.test.bad")), "a warning");
    process.off("warning", warnings.push);
  });

  it("rejects credentials that the server refuses, because trying them again for ever helps nobody", async () => {
    const folder = await mkdtemp(join(tmpdir(), "busker foreign-"));
    const foreign = await openTrust(folder);
    const opening = openBus({
      url: nats.url,
      credentialsFile: foreign.credentialsFile("admin"),
      user: "admin",
      name: "x",
    });
    const error = await within(
      opening.then(
        () => undefined,
        (reason: unknown) => reason,
      ),
      "a refusal",
    );
    await rm(folder, { recursive: true, force: true });
    expect(codeOf(error)).to.equal("bus_unavailable");
    expect(String(error)).to.match(/could not connect to nats:.* as admin: .*authorization/i);
  });

  it("rejects a credentials file that is not there as unauthorized, naming it", async () => {
    const opening = openBus({ url: nats.url, credentialsFile: "/nowhere.creds", user: "admin", name: "x" });
    const error = await opening.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(codeOf(error)).to.equal("unauthorized");
    expect(String(error)).to.contain("/nowhere.creds");
  });

  it("waits for a server that is not there yet, because services and server start together", async () => {
    await nats.kill();
    const opening = open("early");
    await nats.restart();
    const early = await within(opening, "a connection");
    await early.nc.flush();
    await early.close();
  });
});
