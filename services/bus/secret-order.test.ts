import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { openSecretOrder, sealSecretOrder } from "./secret-order.ts";

describe("openSecretOrder()", () => {
  const key = randomBytes(32);
  const binding = { replica: "r1", name: "token", version: 7 };
  const value = Buffer.from("a value that nobody else may read");
  const order = sealSecretOrder(key, binding, value);
  const changed = (text: string): string => {
    const bytes = Buffer.from(text, "base64");
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    return bytes.toString("base64");
  };

  it("opens what was closed, an empty value and one of every byte too", () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    for (const each of [value, Buffer.alloc(0), every])
      expect(openSecretOrder(key, "r1", sealSecretOrder(key, binding, each)).equals(each)).to.equal(true);
  });

  it("closes the same value into another box each time, so that nobody sees that it is the same", () => {
    expect(sealSecretOrder(key, binding, value).box).to.not.equal(order.box);
  });

  const refused: readonly (readonly [string, () => Buffer])[] = [
    ["another replica", () => openSecretOrder(key, "r2", order)],
    ["another name", () => openSecretOrder(key, "r1", { ...order, name: "other" })],
    ["another version", () => openSecretOrder(key, "r1", { ...order, version: 8 })],
    ["another key", () => openSecretOrder(randomBytes(32), "r1", order)],
    ["a box that was changed", () => openSecretOrder(key, "r1", { ...order, box: changed(order.box) })],
    ["a box that is too short", () => openSecretOrder(key, "r1", { ...order, box: "AAAA" })],
  ];
  for (const [what, open] of refused)
    it(`refuses ${what}, and tells nothing of the box`, () =>
      expect(open)
        .to.throw(RangeError, /^version \d of secret \w+ was closed for another replica, or has been changed$/)
        .and.not.have.property("cause"));
});
