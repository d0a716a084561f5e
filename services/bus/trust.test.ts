import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { openSigner } from "./mint.ts";
import { platformUsers } from "./permissions.ts";
import { openReplicaSecretKey, openSeal, openUnseal } from "./sealing-keys.ts";
import { openTrust } from "./trust.ts";

const failure = async (work: Promise<unknown>): Promise<BuskerError> => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(BuskerError);
  return error as BuskerError;
};

const modes = async (folder: string): Promise<string[]> => {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const { mode } = await stat(join(entry.parentPath, entry.name));
    found.push(`${entry.isDirectory() ? "folder" : "file"} ${(mode & 0o777).toString(8)}`);
  }
  return [...new Set(found)].sort();
};

const readAll = async (folder: string): Promise<string> => {
  const texts: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) texts.push(entry.name, await readFile(join(entry.parentPath, entry.name), "utf8"));
  return texts.join("\n");
};

describe("openTrust()", () => {
  let data: string;

  beforeEach(async () => {
    data = await mkdtemp(join(tmpdir(), "busker trust-"));
  });

  afterEach(() => rm(data, { recursive: true, force: true }));

  it("makes files that only their owner reads, because they are keys", async () => {
    await openTrust(data);
    expect(await modes(data)).to.deep.equal(["file 600", "folder 700"]);
    expect((await readdir(join(data, "creds"))).sort()).to.deep.equal(
      platformUsers.map((user) => `${user}.creds`).sort(),
    );
  });

  it("changes nothing at the second start, because creds files are copied elsewhere", async () => {
    await openTrust(data);
    const first = await readAll(data);
    await openTrust(data);
    expect(await readAll(data)).to.equal(first);
  });

  it("makes a lost or damaged creds file anew, because it follows from the keys", async () => {
    const { credentialsFile } = await openTrust(data);
    await rm(credentialsFile("gateway"));
    await writeFile(credentialsFile("scaler"), "nonsense");
    await openTrust(data);
    expect(await readFile(credentialsFile("gateway"), "utf8")).to.include("BEGIN NATS USER JWT");
    expect(await readFile(credentialsFile("scaler"), "utf8")).to.include("BEGIN NATS USER JWT");
  });

  it("removes what a start that was cut short has left, because half of the keys are none", async () => {
    // No process has this id: it is above Linux's largest.
    await mkdir(join(data, "trust.new-4194305-abc"));
    await writeFile(join(data, "trust.new-4194305-abc", "operator.seed"), "SO");
    await openTrust(data);
    expect((await readdir(data)).sort()).to.deep.equal(["creds", "trust"]);
  });

  it("gives two starts at once the same keys, because one of them comes second", async () => {
    const [one, other] = await Promise.all([openTrust(data), openTrust(data)]);
    expect(one.signer.account).to.equal(other.signer.account);
    expect(one.signer.key.getPublicKey()).to.equal(other.signer.key.getPublicKey());
  });

  for (const name of ["operator.jwt", "operator.seed", "system.seed", "account.seed", "signer.json", "sealing.key"]) {
    it(`names ${name} when it is damaged, because somebody must know what to restore`, async () => {
      await openTrust(data);
      await writeFile(join(data, "trust", name), "damaged");
      const error = await failure(openTrust(data));
      expect(error.code).to.equal("internal");
      expect(error.message).to.include(join(data, "trust", name));
    });

    it(`names ${name} when it is missing, because keys are never mixed with new ones`, async () => {
      await openTrust(data);
      await rm(join(data, "trust", name));
      const error = await failure(openTrust(data));
      expect(error.message).to.include(join(data, "trust", name));
    });
  }

  it("makes the key of secrets for a data folder of an earlier version, because that has none", async () => {
    const { paths } = await openTrust(data);
    await rm(paths.sealingKey);
    await rm(paths.sealingPublic);
    await openTrust(data);
    expect(await readFile(paths.sealingKey, "utf8")).to.include("BEGIN PRIVATE KEY");
  });

  it("makes a lost or damaged public half anew, because it follows from the private one", async () => {
    const { paths } = await openTrust(data);
    const before = await readFile(paths.sealingPublic, "utf8");
    await writeFile(paths.sealingPublic, "damaged");
    await openTrust(data);
    expect(await readFile(paths.sealingPublic, "utf8")).to.equal(before);
  });

  it("gives two starts at once the same key of secrets, because what one seals the other must open", async () => {
    const { paths } = await openTrust(data);
    await rm(paths.sealingKey);
    await rm(paths.sealingPublic);
    await Promise.all(Array.from({ length: 8 }, () => openTrust(data)));
    const seal = await openSeal(paths.sealingPublic);
    const unseal = await openUnseal(paths.sealingKey);
    const secret = { namespace: "openfaas-fn", name: "a" };
    expect(unseal(secret, seal(secret, Buffer.from("x"))).toString()).to.equal("x");
    expect((await readdir(paths.folder)).filter((name) => name.endsWith(".new"))).to.deep.equal([]);
  });

  it("names an account's JWT that another operator signed, because nats-server would refuse it without a word", async () => {
    const { paths, signer } = await openTrust(data);
    const file = join(paths.accounts, `${signer.account}.jwt`);
    const text = await readFile(file, "utf8");
    await writeFile(file, text.replace(/.$/, (last) => (last === "A" ? "B" : "A")).replace(/\.([^.]{4})/, ".AAAA"));
    expect((await failure(openTrust(data))).message).to.include(file);
  });

  it("says which folder it cannot write, because a newcomer picks it", async () => {
    await writeFile(join(data, "file"), "");
    const error = await failure(openTrust(join(data, "file", "data")));
    expect(error.message).to.include(join(data, "file", "data"));
  });
});

describe("openReplicaSecretKey()", () => {
  it("gives each replica of each platform its own key, the same at every provider of the data folder", async () => {
    const folder = await mkdtemp(join(tmpdir(), "busker-trust-"));
    try {
      const { paths } = await openTrust(folder);
      const keysOf = async (platform: string): Promise<readonly string[]> => {
        const keyOf = await openReplicaSecretKey(paths.sealingKey, platform);
        return ["r1", "r2"].map((replica) => keyOf(replica).toString("hex"));
      };
      const [one, again, other] = await Promise.all([keysOf("p1"), keysOf("p1"), keysOf("p2")]);
      expect(again).to.deep.equal(one);
      expect(new Set([...one, ...other]).size).to.equal(4);
      for (const key of one) expect(key).to.match(/^[0-9a-f]{64}$/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("openSigner()", () => {
  it("names a file that is not there, because the provider is given its path", async () => {
    const error = await failure(openSigner("/nowhere/signer.json"));
    expect(error.code).to.equal("internal");
    expect(error.message).to.include("/nowhere/signer.json");
  });
});
