import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { type Entry, makeArchive } from "./fixtures/make-archive.ts";
import { type BundleLimits, measureBundle, unpackBundle, unpackBundleStream } from "./unpack-bundle.ts";

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "no error",
    (error: unknown) => (error instanceof BuskerError ? `${error.code}: ${error.message}` : String(error)),
  );

const good = makeArchive([
  { path: "./bin/", type: "Directory", mode: 0o755 },
  { path: "./bin/run.sh", content: "#!/bin/sh\n", mode: 0o4755 },
  { path: "./data.txt", content: "data" },
  { path: "./link", type: "SymbolicLink", linkpath: "bin/run.sh" },
]);

/** Pieces that begin and end anywhere. */
const inPieces = async function* (bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
};

const ways = {
  unpackBundle: (bytes: Buffer, file: string, inside: string, limits?: BundleLimits): Promise<void> => {
    writeFileSync(file, bytes);
    return unpackBundle(file, inside, limits);
  },
  unpackBundleStream: (bytes: Buffer, _file: string, inside: string, limits?: BundleLimits): Promise<void> =>
    unpackBundleStream(inPieces(bytes), inside, limits),
};

describe("bundles unpacked", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker unpack-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("measureBundle() gives what is in one, and writes nothing", async () => {
    const file = join(folder, "bundle.tar.gz");
    writeFileSync(file, good);
    expect(await measureBundle(file)).to.deep.equal({ bytes: 14, entries: 4 });
  });

  it("unpackBundleStream() throws what the content throws", async () => {
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield good.subarray(0, 50);
      throw new Error("no more of it");
    };
    expect(await codeOf(unpackBundleStream(broken(), folder))).to.include("no more of it");
  });

  it("unpackBundleStream() takes a file that is larger than what is written at a time", async () => {
    const content = Buffer.alloc(3_000_000, "0123456789").toString();
    await unpackBundleStream(inPieces(makeArchive([{ path: "large", content }])), folder);
    expect(readFileSync(join(folder, "large"), "utf8") === content).to.equal(true);
  });

  for (const [title, unpackWith] of Object.entries(ways)) {
    describe(`${title}()`, () => {
      const unpack = async (bytes: Buffer, limits?: BundleLimits): Promise<void> => {
        const inside = join(folder, "inside");
        mkdirSync(inside);
        await unpackWith(bytes, join(folder, "bundle.tar.gz"), inside, limits);
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
          expect(await codeOf(unpack(makeArchive(entries)))).to.match(new RegExp(`^invalid_request: .*${says}`));
          expect(existsSync(join(folder, "evil"))).to.equal(false);
        });

      it("leaves files executable and read-only", async () => {
        await unpack(good);
        expect(statSync(join(folder, "inside/bin/run.sh")).mode & 0o7777).to.equal(0o555);
        expect(statSync(join(folder, "inside/data.txt")).mode & 0o7777).to.equal(0o444);
        expect(readFileSync(join(folder, "inside/link"), "utf8")).to.equal("#!/bin/sh\n");
      });

      it("writes nothing through a link of the bundle's own", async () => {
        const entries: Entry[] = [
          { path: "a", type: "SymbolicLink", linkpath: "b" },
          { path: "a/evil", content: "x" },
        ];
        await codeOf(unpack(makeArchive(entries)));
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
  }
});
