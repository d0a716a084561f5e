import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { formatSecretName } from "../../schemas/secret.ts";
import { silentLog } from "../runtime/log.ts";
import { openSecretFolders, type SecretFolders } from "./secret-folders.ts";

const namespace = "openfaas-fn";

describe("openSecretFolders()", () => {
  let dataFolder: string;
  let memory: string;
  let values: Map<string, string>;
  let warnings: unknown[];

  const open = (more: { readonly memory?: string } = {}): SecretFolders =>
    openSecretFolders({
      dataFolder,
      replicas: join(dataFolder, "replicas"),
      memory,
      log: { ...silentLog, warn: (_, fields) => warnings.push(fields) },
      secrets: {
        read: (secret) => {
          const value = values.get(formatSecretName(secret));
          if (value === undefined) throw new Error("there is no such secret");
          return Buffer.from(value);
        },
      },
      ...more,
    });
  const readIn = (folders: SecretFolders, id: string): Record<string, string> =>
    Object.fromEntries(
      readdirSync(folders.folderOf(id)).map((name) => [name, readFileSync(join(folders.folderOf(id), name), "utf8")]),
    );
  const rootOf = (folders: SecretFolders): string => dirname(dirname(folders.folderOf("r1")));

  beforeEach(() => {
    dataFolder = mkdtempSync(join(tmpdir(), "busker-data-"));
    memory = mkdtempSync("/dev/shm/busker-test-");
    values = new Map([
      ["a.openfaas-fn", "one"],
      ["tls.crt.openfaas-fn", "two"],
      ["a.dev", "elsewhere"],
    ]);
    warnings = [];
  });
  afterEach(() => {
    for (const folder of [dataFolder, memory]) rmSync(folder, { recursive: true, force: true });
  });

  it("writes a file for each secret, which only its owner reads, in a folder that only its owner enters", () => {
    const folders = open();
    folders.write({ id: "r1", namespace, names: ["a", "tls.crt", "a"] });
    expect(readIn(folders, "r1")).to.deep.equal({ a: "one", "tls.crt": "two" });
    const folder = folders.folderOf("r1");
    const modes = [join(folder, "a"), folder, dirname(folder), rootOf(folders)].map(
      (each) => statSync(each).mode & 0o777,
    );
    expect(modes).to.deep.equal([0o400, 0o700, 0o700, 0o700]);
    expect(folder.startsWith(memory)).to.equal(true);
  });

  it("writes a new value over the old one in the replicas that have the secret, and in no other", () => {
    const folders = open();
    folders.write({ id: "r1", namespace, names: ["a"] });
    folders.write({ id: "r2", namespace, names: ["tls.crt"] });
    folders.write({ id: "r3", namespace: "dev", names: ["a"] });
    const before = statSync(join(folders.folderOf("r1"), "a")).ino;
    values.set("a.openfaas-fn", "new");
    folders.renew({ namespace, name: "a" });
    expect(["r1", "r2", "r3"].map((id) => readIn(folders, id))).to.deep.equal([
      { a: "new" },
      { "tls.crt": "two" },
      { a: "elsewhere" },
    ]);
    // Another file in its place: who has the old one open reads the old value, whole.
    expect(statSync(join(folders.folderOf("r1"), "a")).ino).to.not.equal(before);
    expect(readdirSync(dirname(folders.folderOf("r1")))).to.deep.equal(["secrets"]);
  });

  it("goes on after a draft that a killed provider has left", () => {
    const folders = open();
    folders.write({ id: "r1", namespace, names: ["a"] });
    writeFileSync(join(dirname(folders.folderOf("r1")), "draft"), "half", { mode: 0o400 });
    values.set("a.openfaas-fn", "new");
    folders.renew({ namespace, name: "a" });
    expect(readIn(folders, "r1")).to.deep.equal({ a: "new" });
  });

  it("reports a renewal that fails and leaves the old value, because the others go on", () => {
    const folders = open();
    folders.write({ id: "r1", namespace, names: ["a"] });
    values.delete("a.openfaas-fn");
    folders.renew({ namespace, name: "a" });
    expect(warnings).to.deep.equal([{ replica: "r1", secret: "a", error: "there is no such secret" }]);
    expect(readIn(folders, "r1")).to.deep.equal({ a: "one" });
  });

  it("removes a replica's secrets, and with the last ones its own folder, because nothing is to be left", () => {
    const folders = open();
    folders.write({ id: "r1", namespace, names: ["a"] });
    folders.write({ id: "r2", namespace, names: ["a"] });
    folders.remove("r1");
    expect([existsSync(folders.folderOf("r1")), existsSync(folders.folderOf("r2"))]).to.deep.equal([false, true]);
    folders.remove("r2");
    folders.remove("never");
    expect(readdirSync(memory)).to.deep.equal([]);
    folders.renew({ namespace, name: "a" });
    expect(readdirSync(memory)).to.deep.equal([]);
  });

  it("leaves nothing behind when nobody has secrets", () => {
    open();
    expect(readdirSync(memory)).to.deep.equal([]);
  });

  it("corrects what it takes over from an earlier provider, and sweeps what nobody has any more", () => {
    const earlier = open();
    for (const id of ["r1", "r2"]) earlier.write({ id, namespace, names: ["a", "tls.crt"] });
    values.set("tls.crt.openfaas-fn", "newer");
    const folders = open();
    folders.adopt("r1", namespace);
    folders.adopt("without", namespace);
    folders.sweep();
    expect(readIn(folders, "r1")).to.deep.equal({ a: "one", "tls.crt": "newer" });
    expect(existsSync(folders.folderOf("r2"))).to.equal(false);
    values.set("a.openfaas-fn", "newer, too");
    folders.renew({ namespace, name: "a" });
    expect(readIn(folders, "r1")).to.include({ a: "newer, too" });
  });

  it("keeps the platforms of one machine apart, because each sweeps what it does not know", () => {
    const folders = open();
    folders.write({ id: "r1", namespace, names: ["a"] });
    const other = openSecretFolders({
      dataFolder: `${dataFolder}-2`,
      replicas: join(dataFolder, "replicas"),
      memory,
      log: silentLog,
      secrets: { read: () => Buffer.alloc(0) },
    });
    other.sweep();
    expect(readIn(folders, "r1")).to.deep.equal({ a: "one" });
  });

  it("keeps secrets in the replica's folder where there is no memory, and says so", () => {
    for (const [given, says] of [
      // No tmpfs anywhere, as a folder for temporary files may be.
      ["/proc", /^\/proc is not in memory \(no tmpfs\)$/],
      [join(dataFolder, "nowhere"), /ENOENT.*\/nowhere/],
    ] as const) {
      mkdirSync(join(dataFolder, "replicas", "r1"), { recursive: true });
      const folders = open({ memory: given });
      expect(folders.onDisk).to.match(says);
      folders.write({ id: "r1", namespace, names: ["a"] });
      expect(readIn(folders, "r1")).to.deep.equal({ a: "one" });
      expect(folders.folderOf("r1").startsWith(join(dataFolder, "replicas", "r1"))).to.equal(true);
      folders.sweep();
      folders.remove("r1");
      expect(readdirSync(join(dataFolder, "replicas", "r1"))).to.deep.equal([]);
    }
  });

  describe("in a folder that somebody else could have made first", () => {
    let root: string;
    const squats: readonly (readonly [string, () => void, RegExp])[] = [
      ["a link", () => symlinkSync(dataFolder, root), /is not a folder$/],
      ["open to others", () => (mkdirSync(root), chmodSync(root, 0o777)), /is open to others$/],
      ["a file", () => writeFileSync(root, ""), /EEXIST|is not a folder/],
    ];
    beforeEach(() => {
      root = rootOf(open());
    });
    for (const [what, squat, says] of squats) {
      it(`does not use one that is ${what}`, () => {
        squat();
        expect(open().onDisk).to.match(says);
      });

      it(`writes no value into one that has become ${what} meanwhile`, () => {
        const folders = open();
        squat();
        expect(() => folders.write({ id: "r1", namespace, names: ["a"] })).to.throw(says);
        expect(existsSync(join(folders.folderOf("r1"), "a"))).to.equal(false);
      });
    }
  });
});
