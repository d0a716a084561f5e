import { createPublicKey, verify } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAccount, createOperator, createUser, fromPublic, fromSeed } from "@nats-io/nkeys";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { holdCredentials, parseCredentials, publicKeyOf, readCredentialsFile } from "./credentials.ts";
import { openKeyPair, seedText } from "./key-pair.ts";
import { mintFunctionUser, mintInvokeUser, renewFunctionUser, type Signer } from "./mint.ts";
import { decodeSeed } from "./nkey.ts";

const signer: Signer = {
  account: createAccount().getPublicKey(),
  key: openKeyPair(seedText(createAccount())),
};

const mint = (): Promise<string> => mintInvokeUser({ signer, ttlMs: 1000 });

const answer = (file: string) => readCredentialsFile(file)("nonce") as { jwt: string; sig: string };

const isSignedBy = (creds: string, sig: string): boolean =>
  verify(
    null,
    Buffer.from("nonce"),
    createPublicKey(parseCredentials(creds).privateKey),
    Buffer.from(sig, "base64url"),
  );

describe("readCredentialsFile()", () => {
  let folder: string;
  let file: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker creds-"));
    file = join(folder, "user.creds");
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("signs the server's nonce, because that proves who we are", async () => {
    const creds = await mint();
    await writeFile(file, creds);
    const { jwt, sig } = answer(file);
    expect(creds).to.include(jwt);
    expect(isSignedBy(creds, sig)).to.equal(true);
  });

  it("takes a renewed file at the next connect, because a function's credentials are short-lived", async () => {
    await writeFile(file, await mint());
    const authenticate = readCredentialsFile(file);
    const renewed = await mint();
    await writeFile(file, renewed);
    const { jwt, sig } = authenticate("nonce") as { jwt: string; sig: string };
    expect(renewed).to.include(jwt);
    expect(isSignedBy(renewed, sig)).to.equal(true);
  });

  it("keeps to the last credentials when the file is gone later, because the client would close for good", async () => {
    const creds = await mint();
    await writeFile(file, creds);
    const authenticate = readCredentialsFile(file);
    await rm(file);
    const { sig } = authenticate("nonce") as { sig: string };
    expect(isSignedBy(creds, sig)).to.equal(true);
  });

  it("reads a file with Windows line ends, because people pass them around", async () => {
    await writeFile(file, (await mint()).replaceAll("\n", "\r\n"));
    expect(answer(file).jwt).to.match(/^eyJ/);
  });

  for (const [what, text] of [
    ["not there", undefined],
    ["empty", ""],
    ["no creds", "hello"],
    ["cut off", "-----BEGIN NATS USER JWT-----\neyJ\n"],
  ] as const)
    it(`throws unauthorized naming a file that is ${what}, because a person must find it`, async () => {
      if (text !== undefined) await writeFile(file, text);
      const caught = (() => {
        try {
          return readCredentialsFile(file);
        } catch (error) {
          return error;
        }
      })();
      expect(caught).to.be.instanceOf(BuskerError).with.property("code", "unauthorized");
      expect((caught as BuskerError).message).to.include(file);
    });
});

describe("holdCredentials()", () => {
  const user = { signer, namespace: "ns", name: "fn", replica: "r1" };
  const proofOf = (held: ReturnType<typeof holdCredentials>) =>
    held.authenticate("nonce") as { jwt: string; sig: string };

  it("proves who we are with a renewed JWT and the first key, because the key never travels again", async () => {
    const text = await mintFunctionUser({ ...user, ttlMs: 1000 });
    const held = holdCredentials(text);
    const first = proofOf(held);
    expect(text).to.include(first.jwt);
    held.renew(await renewFunctionUser({ ...user, ttlMs: 60_000 }, publicKeyOf(first.jwt)));
    const { jwt, sig } = proofOf(held);
    expect(jwt).to.not.equal(first.jwt);
    expect(held.jwt()).to.equal(jwt);
    expect(isSignedBy(text, sig)).to.equal(true);
  });

  for (const [what, make] of [
    ["of another user", () => mintFunctionUser({ ...user, ttlMs: 1000 }).then((text) => parseCredentials(text).jwt)],
    ["that is none", async () => "a.b.c"],
  ] as const)
    it(`refuses a JWT ${what} and keeps its own, because the server would refuse it for ever`, async () => {
      const held = holdCredentials(await mintFunctionUser({ ...user, ttlMs: 1000 }));
      const before = held.jwt();
      const other = await make();
      expect(() => held.renew(other)).to.throw();
      expect(held.jwt()).to.equal(before);
    });
});

describe("openKeyPair()", () => {
  for (const make of [createOperator, createAccount, createUser])
    it(`agrees with @nats-io/nkeys on a key of ${make.name}, because nats-server reads both`, () => {
      const seed = seedText(make());
      const slow = fromSeed(Buffer.from(seed));
      const fast = openKeyPair(seed);
      expect(fast.getPublicKey()).to.equal(slow.getPublicKey());
      expect(Buffer.from(fast.getPrivateKey()).toString()).to.equal(Buffer.from(slow.getPrivateKey()).toString());
      expect(fromPublic(fast.getPublicKey()).verify(Buffer.from("x"), fast.sign(Buffer.from("x")))).to.equal(true);
    });
});

describe("decodeSeed()", () => {
  const seed = seedText(createUser());
  const flipped = seed.replace(/^(.{10})(.)/, (_, head: string, char: string) => head + (char === "A" ? "B" : "A"));
  for (const [what, text] of [
    ["nothing", ""],
    ["a public key", createUser().getPublicKey()],
    ["a wrong checksum", flipped],
    ["lower case", seed.toLowerCase()],
  ] as const)
    it(`rejects ${what} without repeating it, because a seed is a secret`, () => {
      expect(() => decodeSeed(text))
        .to.throw(RangeError)
        .with.property("message")
        .that.satisfies((message: string) => text === "" || !message.includes(text));
    });
});

describe("mintFunctionUser()", () => {
  const names = { signer, namespace: "openfaas-fn", name: "fn", ttlMs: 1000 };

  it("rejects a replica named gateway, because it would get the gateway's replies", async () => {
    const error: unknown = await mintFunctionUser({ ...names, replica: "gateway" }).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(BuskerError).with.property("code", "invalid_request");
  });

  for (const replica of ["*", ">", "a.b", "", "a b"])
    it(`rejects a replica named ${JSON.stringify(replica)}, because it would widen a permission`, async () => {
      const error: unknown = await mintFunctionUser({ ...names, replica }).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(BuskerError).with.property("code", "invalid_request");
    });
});
