import { createHash } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { ObjectStore } from "../../bus/objects.ts";
import { makeArchive } from "../../runtime/fixtures/make-archive.ts";
import { openBundleArchives } from "./bundle-archives.ts";

const archive = makeArchive([{ path: "data.txt", content: "data" }]);
const hostile = makeArchive([{ path: "../evil", content: "x" }]);
const hashOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const digest = hashOf(archive);

/** A store of both, which notes what is read. */
const openStoreOf = (reads: string[]): ObjectStore => {
  const objects = new Map([archive, hostile].map((bytes) => [hashOf(bytes), bytes]));
  return {
    size: async (name) => objects.get(name)?.length,
    put: async () => {},
    get: async (name) => {
      reads.push(name);
      return new Blob([new Uint8Array(objects.get(name) ?? Buffer.alloc(0))]).stream();
    },
    remove: async () => {},
    list: async () => [],
  };
};

const reasonOf = (work: Promise<unknown>): Promise<string> => work.then(() => "no error", String);

describe("openBundleArchives()", () => {
  let folder: string;
  let reads: string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker-archives-"));
    reads = [];
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const open = () => openBundleArchives(folder, openStoreOf(reads));

  it("fetches an archive once for many who ask, and a provider that comes later finds it", async () => {
    const archives = await open();
    const sizes = await Promise.all([archives.measure(digest), archives.measure(digest)]);
    expect(sizes).to.deep.equal(Array(2).fill({ bytes: 4, entries: 1 }));
    await (await open()).measure(digest);
    expect(reads).to.deep.equal([digest]);
  });

  it("reads any part of it, and nothing beyond its end", async () => {
    const archives = await open();
    const { size } = await archives.read(digest, 0, 1);
    expect(size).to.equal(archive.length);
    const parts = await Promise.all([archives.read(digest, 0, 10), archives.read(digest, 10, 10_000)]);
    expect(Buffer.concat(parts.map(({ part }) => part)).equals(archive)).to.equal(true);
    expect((await archives.read(digest, size + 5, 10)).part).to.have.length(0);
  });

  it("refuses one that there is not, and one that may not be unpacked, and keeps neither", async () => {
    const archives = await open();
    expect(await reasonOf(archives.measure("0".repeat(64)))).to.include("there is no bundle sha256:0000");
    expect(await reasonOf(archives.measure(hashOf(hostile)))).to.include("has .. in its path");
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it("removes what is not in use and what an earlier provider left half, and fetches again what is asked for after all", async () => {
    writeFileSync(join(folder, "x.part"), "half");
    const archives = await open();
    await archives.measure(digest);
    expect(readdirSync(folder)).to.have.length(1);
    await archives.collect(new Set([digest]));
    expect(readdirSync(folder)).to.have.length(1);
    await archives.collect(new Set());
    expect(readdirSync(folder)).to.deep.equal([]);
    expect((await archives.read(digest, 0, 10)).part).to.have.length(10);
  });
});
