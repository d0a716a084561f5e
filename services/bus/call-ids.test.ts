import { expect } from "chai";
import type { CallRecord } from "../../schemas/call.ts";
import { chainedCallId, type GivenIds, identifyCall, inOwnName, keyedCallId, readGivenIds } from "./call-ids.ts";
import type { FoundRecord } from "./call-records.ts";
import type { DurableCall } from "./durable-call.ts";

const a = { namespace: "dev", name: "a" };
const b = { namespace: "dev", name: "b" };
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Records of function `a` under these ids. */
const recordsOf = (...ids: readonly string[]) => ({
  read: async (id: string): Promise<FoundRecord | undefined> =>
    ids.includes(id)
      ? { record: { id, function: a } as CallRecord, request: Buffer.alloc(0), response: Buffer.alloc(0), seq: 1 }
      : undefined,
});

describe("keyedCallId() and chainedCallId()", () => {
  it("are UUIDs, the same for the same and different for everything else", () => {
    const ids = [keyedCallId(a, "x"), keyedCallId(b, "x"), keyedCallId(a, "y"), chainedCallId(a, "x")];
    for (const id of ids) expect(id).to.match(uuid);
    expect(new Set(ids).size).to.equal(ids.length);
    expect(keyedCallId(a, "x")).to.equal(ids[0]);
  });
});

describe("readGivenIds()", () => {
  it("takes an empty header for none", () => {
    expect(readGivenIds(["X-Call-Id", "", "idempotency-key", "k"])).to.deep.equal({ id: undefined, key: "k" });
  });
  it("refuses what is too long", () => {
    expect(() => readGivenIds(["x-call-id", "i".repeat(129)]))
      .to.throw("X-Call-Id must have 128 characters at most; got 129")
      .with.property("code", "invalid_request");
  });
});

describe("identifyCall()", () => {
  const cases: readonly (readonly [string, GivenIds, readonly string[], object])[] = [
    ["a given id that nobody has", { id: "x" }, [], { id: "x", isKnown: false }],
    ["a repeat", { id: "x" }, ["x"], { id: "x", isKnown: true }],
    ["a key", { key: "k" }, [], { id: keyedCallId(a, "k"), isKnown: false }],
    ["a key's repeat", { key: "k" }, [keyedCallId(a, "k")], { id: keyedCallId(a, "k"), isKnown: true }],
    ["a key along a chain", { key: "k", id: "x" }, ["x"], { id: keyedCallId(a, "k"), parent: "x", isKnown: false }],
  ];
  for (const [what, given, known, identity] of cases)
    it(`finds ${what}`, async () => {
      expect(await identifyCall(recordsOf(...known), a, given)).to.deep.equal(identity);
    });

  it("gives another function's id a new one, and knows that one again", async () => {
    const id = chainedCallId(b, "x");
    expect(await identifyCall(recordsOf("x"), b, { id: "x" })).to.deep.equal({ id, parent: "x", isKnown: false });
    const records = { read: async (asked: string) => recordsOf("x", id).read(asked) };
    expect(await identifyCall(records, b, { id: "x" })).to.deep.equal({ id, parent: "x", isKnown: true });
  });

  it("makes an id where none is given, without asking", async () => {
    const records = { read: () => Promise.reject(new Error("asked")) };
    expect((await identifyCall(records, a, {})).isKnown).to.equal(false);
  });
});

describe("inOwnName()", () => {
  it("changes the id, also where the function sees it, and says whose call it came from", () => {
    const call = { id: "x", function: a, head: { method: "GET", path: "/", headers: ["x-call-id", "x", "Y", "x"] } };
    const id = chainedCallId(a, "x");
    expect(inOwnName(call as unknown as DurableCall)).to.deep.equal({
      id,
      parent: "x",
      function: a,
      head: { method: "GET", path: "/", headers: ["x-call-id", id, "Y", "x"] },
    });
  });
});
