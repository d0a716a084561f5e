import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { openBundleCache } from "./bundle-cache.ts";
import { makeArchive } from "../runtime/fixtures/make-archive.ts";

const hashOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

const storeOf = (objects: ReadonlyMap<string, Buffer>, reads: string[] = []): ObjectStore => ({
  size: async (name) => objects.get(name)?.length,
  put: async () => {},
  get: async (name) => {
    reads.push(name);
    return new Blob([new Uint8Array(objects.get(name) ?? Buffer.alloc(0))]).stream();
  },
  remove: async () => {},
  list: async () => [...objects.keys()],
});

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "no error",
    (error: unknown) => (error instanceof BuskerError ? `${error.code}: ${error.message}` : String(error)),
  );

const bundlesIn = (folder: string): readonly string[] => readdirSync(folder).filter((name) => name !== "package.json");

describe("bundles", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker bundles-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const good = makeArchive([
    { path: "./bin/", type: "Directory", mode: 0o755 },
    { path: "./bin/run.sh", content: "#!/bin/sh\n", mode: 0o4755 },
    { path: "./data.txt", content: "data" },
    { path: "./link", type: "SymbolicLink", linkpath: "bin/run.sh" },
  ]);

  describe("openBundleCache()", () => {
    it("is the edge of Node's world: a bundle's CommonJS runs, though Busker's own package.json says module", async () => {
      writeFileSync(join(folder, "package.json"), '{"type":"module"}');
      await openBundleCache(join(folder, "bundles"), storeOf(new Map()));
      mkdirSync(join(folder, "bundles/one"));
      const file = join(folder, "bundles/one/index.js");
      writeFileSync(file, 'module.exports = require("node:path").sep; console.log(module.exports);');
      expect(execFileSync(process.execPath, [file]).toString()).to.equal("/\n");
    });

    it("fetches a bundle once for many who ask, unpacked, executable and read-only", async () => {
      const reads: string[] = [];
      const cache = await openBundleCache(folder, storeOf(new Map([[hashOf(good), good]]), reads));
      expect(cache.find(hashOf(good))).to.equal(undefined);
      const [first, second] = await Promise.all([cache.fetch(hashOf(good)), cache.fetch(hashOf(good))]);
      expect(second).to.equal(first);
      expect(reads).to.have.length(1);
      expect(statSync(join(first, "bin/run.sh")).mode & 0o7777).to.equal(0o555);
      expect(statSync(join(first, "data.txt")).mode & 0o7777).to.equal(0o444);
      expect(statSync(first).mode & 0o7777).to.equal(0o555);
      expect(readFileSync(join(first, "link"), "utf8")).to.equal("#!/bin/sh\n");
      expect(bundlesIn(folder)).to.deep.equal([hashOf(good)]);
    });

    it("finds after a restart what was whole and removes what was not, because a provider may be killed while it fetches", async () => {
      const store = storeOf(new Map([[hashOf(good), good]]));
      await (await openBundleCache(folder, store)).fetch(hashOf(good));
      mkdirSync(join(folder, "x.part"));
      writeFileSync(join(folder, "x.part.tar.gz"), "half");
      const cache = await openBundleCache(folder, store);
      expect(cache.find(hashOf(good))).to.equal(join(folder, hashOf(good)));
      expect(bundlesIn(folder)).to.deep.equal([hashOf(good)]);
    });

    it("refuses a bundle that is not there, and one whose content is not its name's", async () => {
      const wrong = "f".repeat(64);
      const cache = await openBundleCache(folder, storeOf(new Map([[wrong, good]])));
      expect(await codeOf(cache.fetch("0".repeat(64)))).to.match(/^invalid_request: there is no bundle/);
      expect(await codeOf(cache.fetch(wrong))).to.match(/^invalid_request: .*damaged.*hash/);
      expect(bundlesIn(folder)).to.deep.equal([]);
    });

    it("removes what nobody uses, and keeps what is held, because it is about to be used", async () => {
      const other = makeArchive([{ path: "other", content: "x" }]);
      const store = storeOf(
        new Map([
          [hashOf(good), good],
          [hashOf(other), other],
        ]),
      );
      const first = await openBundleCache(folder, store);
      await first.fetch(hashOf(good));
      await first.fetch(hashOf(other));
      const later = await openBundleCache(folder, store);
      const release = later.hold(hashOf(other));
      await later.collect(new Set());
      expect(bundlesIn(folder)).to.deep.equal([hashOf(other)]);
      release();
      await later.collect(new Set([hashOf(other)]));
      expect(bundlesIn(folder)).to.deep.equal([hashOf(other)]);
      const removal = later.collect(new Set());
      expect(later.find(hashOf(other))).to.equal(undefined);
      await Promise.all([removal, later.fetch(hashOf(other))]);
      expect(bundlesIn(folder)).to.deep.equal([hashOf(other)]);
    });
  });
});
