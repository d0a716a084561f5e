import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import { Header } from "tar";
import { BuskerError } from "../../schemas/errors.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { openBundleCache } from "./bundle-cache.ts";
import { unpackBundle } from "./unpack-bundle.ts";

interface Entry {
  readonly path: string;
  readonly type?: "File" | "Directory" | "SymbolicLink" | "Link" | "FIFO";
  readonly linkpath?: string;
  readonly content?: string;
  readonly mode?: number;
}

const blockBytes = 512;

/** An archive block by block, because tar's own writer refuses to make a hostile one. */
const archive = (entries: readonly Entry[]): Buffer => {
  const blocks = entries.flatMap(({ path, type = "File", linkpath, content = "", mode = 0o644 }) => {
    const head = Buffer.alloc(blockBytes);
    new Header({
      path,
      type,
      mode,
      size: content.length,
      mtime: new Date(0),
      ...(linkpath ? { linkpath } : {}),
    }).encode(head);
    const body = Buffer.alloc(Math.ceil(content.length / blockBytes) * blockBytes);
    body.write(content);
    return [head, body];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]));
};

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

  const good = archive([
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
      const other = archive([{ path: "other", content: "x" }]);
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

  describe("unpackBundle()", () => {
    const unpack = async (bytes: Buffer, limits?: { maxBytes: number; maxEntries: number }): Promise<void> => {
      const file = join(folder, "bundle.tar.gz");
      const inside = join(folder, "inside");
      writeFileSync(file, bytes);
      mkdirSync(inside);
      await unpackBundle(file, inside, limits);
    };
    const hostile: readonly (readonly [string, readonly Entry[], string])[] = [
      ["an absolute path", [{ path: "/tmp/busker-evil", content: "x" }], "absolute path"],
      ["a path upwards", [{ path: "../evil", content: "x" }], "has .."],
      ["an absolute link", [{ path: "etc", type: "SymbolicLink", linkpath: "/etc" }], "no relative path"],
      ["a link upwards", [{ path: "up", type: "SymbolicLink", linkpath: "../evil" }], "leaves the bundle"],
      ["a hard link upwards", [{ path: "up", type: "Link", linkpath: "../bundle.tar.gz" }], "leaves the bundle"],
      ["a pipe", [{ path: "pipe", type: "FIFO" }], "FIFO"],
      [
        "links that lead out together",
        [
          { path: "a/", type: "Directory", mode: 0o755 },
          { path: "a/here", type: "SymbolicLink", linkpath: "." },
          { path: "out", type: "SymbolicLink", linkpath: "a/here/../.." },
        ],
        "leads out",
      ],
    ];
    for (const [what, entries, says] of hostile)
      it(`refuses ${what}, because a bundle comes from anybody`, async () => {
        expect(await codeOf(unpack(archive(entries)))).to.match(new RegExp(`^invalid_request: .*${says}`));
        expect(existsSync(join(folder, "evil"))).to.equal(false);
      });

    it("writes nothing through a link of the bundle's own", async () => {
      const entries: Entry[] = [
        { path: "a", type: "SymbolicLink", linkpath: "b" },
        { path: "a/evil", content: "x" },
      ];
      await codeOf(unpack(archive(entries)));
      expect(existsSync(join(folder, "evil"))).to.equal(false);
    });

    it("refuses what is no archive, half an archive, and a content beyond its limits", async () => {
      expect(await codeOf(unpack(Buffer.from("not gzip")))).to.match(/^invalid_request/);
      await rm(join(folder, "inside"), { recursive: true });
      expect(await codeOf(unpack(good.subarray(0, good.length - 30)))).to.match(/^invalid_request/);
      await rm(join(folder, "inside"), { recursive: true });
      expect(await codeOf(unpack(good, { maxBytes: 10, maxEntries: 100 }))).to.match(/more than 10 bytes/);
      await rm(join(folder, "inside"), { recursive: true });
      expect(await codeOf(unpack(good, { maxBytes: 1000, maxEntries: 2 }))).to.match(/more than 2 entries/);
    });
  });
});
