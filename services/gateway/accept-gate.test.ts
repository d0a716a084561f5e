import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { createAcceptGate } from "./accept-gate.ts";

const silence = new BuskerError("bus_unavailable", "nobody answered");

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (error: BuskerError) => `${error.code}: ${error.message}`,
  );

/** Something that ends when it is told to. */
const waiting = (): { readonly hand: () => Promise<string>; end: (error?: Error) => void } => {
  const made = { hand: (): Promise<string> => promise, end: (_error?: Error): void => {} };
  const promise = new Promise<string>((resolve, reject) => {
    made.end = (error) => (error ? reject(error) : resolve("done"));
  });
  return made;
};

describe("createAcceptGate()", () => {
  it("gives what a call gives, and what it throws", async () => {
    const gate = createAcceptGate(10);
    expect(await gate.pass(10, async () => "done")).to.equal("done");
    const full = new BuskerError("queue_full", "full");
    expect(await codeOf(gate.pass(10, () => Promise.reject(full)))).to.equal("queue_full: full");
    expect(await gate.pass(10, async () => "done")).to.equal("done");
  });

  it("holds no more bytes than it may, and forgets those that are through", async () => {
    const gate = createAcceptGate(10);
    const first = waiting();
    const passed = gate.pass(6, first.hand);
    expect(await codeOf(gate.pass(5, async () => "done"))).to.equal(
      "bus_unavailable: calls of 6 bytes wait for the queue to take them",
    );
    expect(await gate.pass(4, async () => "done")).to.equal("done");
    first.end();
    expect([await passed, await gate.pass(10, async () => "done")]).to.deep.equal(["done", "done"]);
  });

  it("lets one call at a time find out whether a silent queue answers again, and the others wait for nothing", async () => {
    const gate = createAcceptGate(10);
    await codeOf(gate.pass(0, () => Promise.reject(silence)));
    const probe = waiting();
    const probed = gate.pass(0, probe.hand);
    expect(await codeOf(gate.pass(0, async () => "done"))).to.contain("does not answer at the moment");
    probe.end();
    expect(await probed).to.equal("done");
    const [a, b] = [waiting(), waiting()];
    const both = [gate.pass(0, a.hand), gate.pass(0, b.hand)];
    a.end();
    b.end();
    expect(await Promise.all(both)).to.deep.equal(["done", "done"]);
  });

  it("stays shut while the one that finds out is not answered either", async () => {
    const gate = createAcceptGate(10);
    await codeOf(gate.pass(0, () => Promise.reject(silence)));
    expect(await codeOf(gate.pass(0, () => Promise.reject(silence)))).to.contain("nobody answered");
    const probe = waiting();
    void codeOf(gate.pass(0, probe.hand));
    expect(await codeOf(gate.pass(0, async () => "done"))).to.contain("does not answer at the moment");
    probe.end();
  });
});
