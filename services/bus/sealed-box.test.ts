import { generateKeyPairSync, randomBytes } from "node:crypto";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import type { SealedBox } from "../../schemas/secret.ts";
import { openValue, sealingKeyId, sealValue } from "./sealed-box.ts";

const { publicKey, privateKey } = generateKeyPairSync("x25519");
const secret = { namespace: "openfaas-fn", name: "api-key" };
const value = Buffer.from("hunter2, which nobody may read");

const flip = (base64: string, at: number): string => {
  const bytes = Buffer.from(base64, "base64");
  const index = at < 0 ? bytes.length + at : at;
  bytes.writeUInt8(bytes.readUInt8(index) ^ 1, index);
  return bytes.toString("base64");
};

const refusal = (box: SealedBox, key = privateKey, name = secret): BuskerError => {
  try {
    openValue(key, name, box);
  } catch (error) {
    if (error instanceof BuskerError) return error;
    throw error;
  }
  throw new Error("it was opened");
};

describe("sealValue()", () => {
  const box = sealValue(publicKey, secret, value);

  for (const [what, bytes] of [
    ["text", value],
    ["nothing", Buffer.alloc(0)],
    ["any bytes", Buffer.from([0, 255, 10, 13, 0])],
    ["a megabyte", randomBytes(1024 * 1024)],
  ] as const)
    it(`seals ${what} so that openValue() gives it back`, () => {
      expect(openValue(privateKey, secret, sealValue(publicKey, secret, bytes)).equals(bytes)).to.equal(true);
    });

  it("shows nothing of the value, as text or in base64", () => {
    const text = JSON.stringify(box);
    expect(text).to.not.contain("hunter2");
    expect(text).to.not.contain(value.toString("base64").slice(0, 12));
  });

  it("makes another box of the same value each time, so that nobody sees that a value has come back", () => {
    const again = sealValue(publicKey, secret, value);
    expect(again.key).to.equal(box.key);
    expect(again.ephemeral).to.not.equal(box.ephemeral);
    expect(again.ciphertext).to.not.equal(box.ciphertext);
  });

  it("opens with no other key, and names both", () => {
    const other = generateKeyPairSync("x25519");
    const { code, message } = refusal(box, other.privateKey);
    expect(code).to.equal("internal");
    expect(message).to.contain(sealingKeyId(publicKey)).and.contain(sealingKeyId(other.publicKey));
    expect(refusal({ ...box, key: sealingKeyId(other.publicKey) }, other.privateKey).message).to.contain("changed");
  });

  for (const [what, name] of [
    ["another name", { ...secret, name: "api-kez" }],
    ["another namespace", { ...secret, namespace: "dev" }],
    ["names cut elsewhere", { namespace: "openfaas-fn.api", name: "key" }],
  ] as const)
    it(`opens under ${what} not at all, so that nobody moves it to a function of theirs`, () => {
      expect(refusal(box, privateKey, name).message).to.match(/^could not open secret .*another secret/);
    });

  for (const [what, changed] of [
    ["its first byte", { ...box, ciphertext: flip(box.ciphertext, 0) }],
    ["its tag", { ...box, ciphertext: flip(box.ciphertext, -1) }],
    ["its own key", { ...box, ephemeral: flip(box.ephemeral, 5) }],
    ["its end", { ...box, ciphertext: Buffer.from(box.ciphertext, "base64").subarray(0, -1).toString("base64") }],
    ["everything but a few bytes", { ...box, ciphertext: "AAAA" }],
    ["a key that is none", { ...box, ephemeral: "AAAA" }],
    ["a key of zeros", { ...box, ephemeral: Buffer.alloc(32).toString("base64") }],
  ] as const)
    it(`does not open when ${what} was changed, and says nothing of what is in it`, () => {
      const { message, cause } = refusal(changed);
      expect(message).to.equal(
        "could not open secret api-key.openfaas-fn: it was sealed for another secret, or has been changed; update the secret",
      );
      expect(cause).to.equal(undefined);
    });
});
