import { expect } from "chai";
import { within } from "../../../test/support/collector.ts";
import { type Entry, HostGate, type Place } from "./host-gate.ts";

const limits = { all: 6, perHost: 3, perSilentHost: 1, waiting: 6, bytes: 100 };

const placeOf = (entry: Entry): Place => {
  if (entry.kind !== "in") throw new Error("sent away");
  return entry.place;
};

/** What has been let in or sent away by now. */
const watch = (entering: Promise<Entry>): { entry?: Entry } => {
  const seen: { entry?: Entry } = {};
  void entering.then((entry) => (seen.entry = entry));
  return seen;
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("HostGate", () => {
  it("lets so many call a host, lets some wait in order, and sends the rest away", async () => {
    const gate = new HostGate(limits);
    const entries = Array.from({ length: 12 }, () => watch(gate.enter("slow", 1)));
    await turn();
    expect(entries.map(({ entry }) => entry?.kind)).to.deep.equal([
      "in",
      "in",
      "in",
      ...Array.from({ length: 6 }, () => undefined),
      "later",
      "later",
      "later",
    ]);
    const first = entries[0]?.entry;
    if (first) placeOf(first).leave(true);
    await turn();
    expect(entries[3]?.entry?.kind).to.equal("in");
    expect(entries[4]?.entry).to.equal(undefined);
  });

  it("lets others in while one host hangs", async () => {
    const gate = new HostGate(limits);
    for (let at = 0; at < 20; at += 1) void gate.enter("hanging", 1);
    for (let at = 0; at < 50; at += 1) placeOf(await gate.enter("quick", 1)).leave(true);
  });

  it("gives a host that did not answer one place until it does, and has nobody wait for it", async () => {
    const gate = new HostGate(limits);
    placeOf(await gate.enter("silent", 1)).leave(false);
    const one = placeOf(await gate.enter("silent", 1));
    expect((await gate.enter("silent", 1)).kind).to.equal("later");
    one.leave(true);
    expect((await Promise.all([1, 2].map(() => gate.enter("silent", 1)))).map(({ kind }) => kind)).to.deep.equal([
      "in",
      "in",
    ]);
  });

  it("sends those away that have waited for a moment, because others are behind them", async () => {
    const gate = new HostGate(limits);
    const entries = await within(
      Promise.all(Array.from({ length: 9 }, () => gate.enter("hanging", 1))),
      "nobody waits any more",
    );
    expect(entries.filter(({ kind }) => kind === "later").length).to.equal(6);
    // It is known to be slow by now, although no call of it is over.
    expect((await gate.enter("hanging", 1)).kind).to.equal("later");
  });

  it("gives a place that is free to whoever waits, whatever its host", async () => {
    const gate = new HostGate(limits);
    const places = await Promise.all(["a", "b"].flatMap((host) => [1, 2, 3].map(() => gate.enter(host, 1))));
    const other = watch(gate.enter("c", 1));
    await turn();
    expect(other.entry).to.equal(undefined);
    placeOf(places[0] as Entry).leave(true);
    await turn();
    expect(other.entry?.kind).to.equal("in");
  });

  it("holds no more bytes than it may, but for one that is larger by itself", async () => {
    const gate = new HostGate(limits);
    await Promise.all([1, 2, 3].map(() => gate.enter("slow", 30)));
    expect((await gate.enter("slow", 30)).kind).to.equal("later");
    expect((await gate.enter("other", 30)).kind).to.equal("later");
    const empty = new HostGate(limits);
    const large = placeOf(await empty.enter("other", 1000));
    expect((await empty.enter("other", 1)).kind).to.equal("later");
    large.leave(true);
    expect((await empty.enter("other", 1)).kind).to.equal("in");
  });

  it("sends away for longer the more often one has come", async () => {
    const gate = new HostGate({ ...limits, perHost: 0, waiting: 0 });
    for (const [deliveries, leastMs, mostMs] of [
      [1, 125, 375],
      [4, 1000, 3000],
      [1000, 15_000, 45_000],
    ] as const) {
      const entry = await gate.enter("host", 1000, deliveries);
      expect(entry.kind === "later" && entry.delayMs).to.be.within(leastMs, mostMs);
    }
  });
});
