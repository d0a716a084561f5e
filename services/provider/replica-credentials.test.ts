import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { keepCredentials } from "./replica-credentials.ts";
import { replicaPaths } from "./replica-folder.ts";

const replica = { namespace: "openfaas-fn", name: "f", replica: "f-1" };

describe("keepCredentials()", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "busker creds-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const writeOld = (ageMs: number) => {
    const paths = replicaPaths(root, replica.replica);
    mkdirSync(paths.folder);
    writeFileSync(paths.credentials, "old");
    const written = new Date(Date.now() - ageMs);
    utimesSync(paths.credentials, written, written);
    return paths;
  };

  it("renews at half of a life, also what an earlier provider has written", async () => {
    const paths = writeOld(600);
    let tell: () => void = () => {};
    const minted = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const kept = keepCredentials({
      ttlMs: 1000,
      mint: async ({ replica: id }) => {
        setImmediate(tell);
        return `new for ${id}`;
      },
    });
    kept.keep(replica, paths);
    await minted;
    kept.close();
    expect(readFileSync(paths.credentials, "utf8")).to.equal("new for f-1");
    expect(statSync(paths.credentials).mode & 0o777).to.equal(0o600);
  });

  it("writes nothing for a replica that ended meanwhile, because its folder is gone", async () => {
    const paths = writeOld(600);
    let tell: (text: (text: string) => void) => void = () => {};
    const asked = new Promise<(text: string) => void>((resolve) => {
      tell = resolve;
    });
    const kept = keepCredentials({ ttlMs: 1000, mint: () => new Promise((resolve) => tell(resolve)) });
    kept.keep(replica, paths);
    const answer = await asked;
    kept.forget(replica.replica);
    kept.close();
    answer("new");
    await new Promise((resolve) => setImmediate(resolve));
    expect(readFileSync(paths.credentials, "utf8")).to.equal("old");
  });
});
