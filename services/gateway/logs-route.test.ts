import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { readLogQuery } from "./logs-route.ts";

const now = new Date("2026-01-01T00:10:00Z");

describe("readLogQuery()", () => {
  it("looks back five minutes and at all lines when nothing is said", () => {
    expect(readLogQuery({ name: "f" }, now)).to.deep.equal({
      function: { namespace: "openfaas-fn", name: "f" },
      instance: undefined,
      tail: 0,
      follow: false,
      since: new Date("2026-01-01T00:05:00Z"),
    });
  });

  it("reads every parameter", () => {
    const query = {
      name: "f",
      namespace: "dev",
      instance: "r1",
      tail: "7",
      follow: "true",
      since: "2026-01-01T00:00:00Z",
    };
    expect(readLogQuery(query, now)).to.deep.equal({
      function: { namespace: "dev", name: "f" },
      instance: "r1",
      tail: 7,
      follow: true,
      since: new Date("2026-01-01T00:00:00Z"),
    });
  });

  it("takes a tail of -1 as unlimited", () => {
    expect(readLogQuery({ name: "f", tail: "-1" }, now).tail).to.equal(0);
  });

  const refused: readonly (readonly [Record<string, string>, string, string])[] = [
    [{ name: "f", since: "yesterday" }, "unprocessable", "since"],
    [{ name: "f", tail: "many" }, "unprocessable", "tail"],
    [{ name: "f", follow: "maybe" }, "unprocessable", "follow"],
    [{}, "invalid_request", "name"],
    [{ name: "F" }, "invalid_request", "F"],
  ];
  for (const [query, code, named] of refused)
    it(`refuses ${JSON.stringify(query)} with ${code}`, () => {
      expect(() => readLogQuery(query, now))
        .to.throw(BuskerError)
        .that.satisfies((error: BuskerError) => error.code === code && error.message.includes(named));
    });
});
