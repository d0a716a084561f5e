import { expect } from "chai";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { callbackKeyFile, ensureCallbackKey, readCallbackKey } from "./callback-key.ts";

describe("ensureCallbackKey()", () => {
  let data: string;
  beforeEach(async () => (data = await mkdtemp(join(tmpdir(), "busker key-"))));
  afterEach(() => rm(data, { recursive: true }));

  it("makes one key, whoever starts at the same time and however often, because receivers have it", async () => {
    await Promise.all(Array.from({ length: 8 }, () => ensureCallbackKey(data)));
    const text = await readFile(callbackKeyFile(data), "utf8");
    await ensureCallbackKey(data);
    expect(await readFile(callbackKeyFile(data), "utf8")).to.equal(text);
    expect(text).to.match(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(await readdir(join(data, "secrets"))).to.deep.equal(["callback-key"]);
    expect((await stat(callbackKeyFile(data))).mode & 0o777).to.equal(0o600);
    expect((await readCallbackKey(callbackKeyFile(data))).length).to.equal(32);
  });

  for (const text of ["", "whsec_", "whsec_c2hvcnQ=", Buffer.alloc(32).toString("base64")])
    it(`names the file that holds ${JSON.stringify(text)}, because it is no key`, async () => {
      await writeFile(join(data, "key"), text);
      const error = await readCallbackKey(join(data, "key")).catch((reason: unknown) => reason);
      expect(error).to.have.property("code", "internal");
      expect((error as Error).message).to.include(join(data, "key"));
    });
});
