import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { formatSecretName, type SealedBox, type SecretRecord } from "../../schemas/secret.ts";
import type { Change } from "../bus/kv.ts";
import { openSecretStore, type SecretBucket, type SecretStore } from "./secret-store.ts";

const namespace = "openfaas-fn";
const key = { namespace, name: "key" };
const box = (text: string): SealedBox => ({ key: "k", ephemeral: "e", ciphertext: text });

/** A bucket in memory that tells its watcher when the test says so. */
const createFakeBucket = () => {
  const entries = new Map<string, { value: SecretRecord; revision: number }>();
  const untold: Change<SecretRecord>[] = [];
  let revision = 0;
  let watcher: (change: Change<SecretRecord>) => void = () => {};
  const put = (name: string, value: SecretRecord): number => {
    revision += 1;
    entries.set(name, { value, revision });
    untold.push({ kind: "put", entry: { key: name, value, revision } });
    return revision;
  };
  const conflict = (): never => {
    throw new BuskerError("conflict", "somebody was faster");
  };
  const bucket: SecretBucket = {
    create: async (name, value) => (entries.has(name) ? conflict() : put(name, value)),
    update: async (name, value, known) => (entries.get(name)?.revision === known ? put(name, value) : conflict()),
    remove: async (name) => {
      revision += 1;
      entries.delete(name);
      untold.push({ kind: "gone", key: name, revision });
    },
    watch: async (onChange, onCaughtUp) => {
      watcher = onChange;
      for (const [name, { value, revision: at }] of entries)
        onChange({ kind: "put", entry: { key: name, value, revision: at } });
      onCaughtUp?.();
      return () => {};
    },
  };
  return { bucket, put, entries, tell: () => untold.splice(0).forEach((change) => watcher(change)) };
};

const record = (sealed: SealedBox): SecretRecord => ({
  ...key,
  sealed,
  version: 1,
  createdAt: "2026-01-31T12:00:00.000Z",
  updatedAt: "2026-01-31T12:00:00.000Z",
});

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (error: unknown) => (error instanceof BuskerError ? error.code : String(error)),
  );

describe("openSecretStore()", () => {
  let fake: ReturnType<typeof createFakeBucket>;
  let store: SecretStore;
  let told: string[];
  beforeEach(async () => {
    fake = createFakeBucket();
    fake.put("old.dev", { ...record(box("before")), name: "old", namespace: "dev" });
    store = await openSecretStore(fake.bucket, (_, sealed) => {
      if (sealed.ciphertext === "") throw new BuskerError("internal", "it does not open");
      return Buffer.from(`opened ${sealed.ciphertext}`);
    });
    told = [];
    store.onChange(({ name }) => told.push(`${name} ${store.read({ namespace, name }).toString()}`));
  });

  it("gives each value a larger version than the one before, also when the secret was removed in between", async () => {
    const versions: number[] = [];
    const look = (): number => versions.push(store.readValue(key).version);
    await store.create(key, box("1"));
    look();
    await store.update(key, box("2"));
    look();
    await store.remove(key);
    expect(() => store.readValue(key)).to.throw(`there is no secret ${formatSecretName(key)}`);
    await store.create(key, box("3"));
    look();
    expect(versions).to.deep.equal([...new Set(versions)].toSorted((one, other) => one - other));
    expect(store.readValue(key).value.toString()).to.equal("opened 3");
  });

  it("has what was there before it, by namespace", () => {
    expect([store.list("dev"), store.list(namespace)]).to.deep.equal([["old"], []]);
    expect(store.read({ namespace: "dev", name: "old" }).toString()).to.equal("opened before");
  });

  it("knows what it wrote before the bucket tells it, and tells of it once", async () => {
    await store.create(key, box("one"));
    expect([store.has(key), store.list(namespace)]).to.deep.equal([true, ["key"]]);
    await store.update(key, box("two"));
    fake.tell();
    expect(told).to.deep.equal(["key opened one", "key opened two"]);
    expect(fake.entries.get("key.openfaas-fn")?.value).to.include({ version: 2, name: "key", namespace });
  });

  it("does not bring a removed secret back by an old word of the bucket", async () => {
    await store.create(key, box("one"));
    await store.remove(key);
    expect([store.has(key), store.list(namespace)]).to.deep.equal([false, []]);
    fake.tell();
    expect(store.has(key)).to.equal(false);
    await store.create(key, box("anew"));
    fake.tell();
    expect(store.read(key).toString()).to.equal("opened anew");
  });

  it("refuses what does not fit what is there", async () => {
    expect(await codeOf(store.update(key, box("x")))).to.equal("secret_not_found");
    expect(await codeOf(store.remove(key))).to.equal("secret_not_found");
    expect(() => store.read(key))
      .to.throw("there is no secret key.openfaas-fn")
      .with.property("code", "secret_not_found");
    await store.create(key, box("one"));
    expect(await codeOf(store.create(key, box("x")))).to.equal("secret_exists");
    fake.put("key.openfaas-fn", record(box("another's")));
    expect(await codeOf(store.update(key, box("x")))).to.equal("conflict");
  });

  it("keeps no box that does not open, because nobody would learn of it before a replica's start", async () => {
    expect(await codeOf(store.create(key, box("")))).to.equal("internal");
    await store.create(key, box("one"));
    expect(await codeOf(store.update(key, box("")))).to.equal("internal");
    expect(store.read(key).toString()).to.equal("opened one");
  });

  it("takes what somebody else wrote, and tells of it", () => {
    fake.put("key.openfaas-fn", record(box("another's")));
    fake.tell();
    expect(told).to.deep.equal(["key opened another's"]);
  });

  it("has nothing by a name that no secret can have, though the bucket takes such a key", () => {
    fake.put("../key.openfaas-fn", record(box("x")));
    fake.tell();
    expect(store.has({ namespace, name: "../key" })).to.equal(false);
  });
});
