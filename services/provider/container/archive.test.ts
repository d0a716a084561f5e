import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { expect } from "chai";
import { type ArchivePart, listFolder, packArchive } from "./archive.ts";

describe("packArchive()", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "busker-archive-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  /** What another program reads from it: mode, owner, bytes, name and target. */
  const readByTar = async (parts: readonly ArchivePart[]): Promise<readonly string[]> => {
    const listing = execFileSync("tar", ["-tv", "--numeric-owner", "--quoting-style=literal", "-f", "-"], {
      input: await buffer(packArchive(parts)),
      env: { LC_ALL: "C.UTF-8", TZ: "UTC", PATH: process.env["PATH"] },
    });
    return listing.toString().trim().split("\n");
  };
  const file = (name: string, content: string, mode: number): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  };

  it("keeps each mode to the bit, of root's, with the time of nothing", async () => {
    const source = file("loader", "12345", 0o111);
    expect(
      await readByTar([
        { kind: "folder", name: "home", mode: 0o1777, owner: 12000 },
        { kind: "file", name: "loader", mode: 0o111, source },
        { kind: "text", name: "a", mode: 0o4400, text: "äö" },
        { kind: "link", name: "b", target: "../a" },
      ]),
    ).to.deep.equal([
      "drwxrwxrwt 12000/12000       0 1970-01-01 00:00 home",
      "---x--x--x 0/0               5 1970-01-01 00:00 loader",
      "-r-S------ 0/0               4 1970-01-01 00:00 a",
      "lrwxrwxrwx 0/0               0 1970-01-01 00:00 b -> ../a",
    ]);
  });

  it("takes names and targets that are longer than a header's fields, and such that are not ASCII", async () => {
    const long = `${"d".repeat(90)}/${"é".repeat(80)}`;
    const listing = await readByTar([
      { kind: "text", name: long, mode: 0o644, text: "x".repeat(513) },
      { kind: "link", name: "l", target: "t".repeat(150) },
      { kind: "text", name: "after", mode: 0o644, text: "" },
    ]);
    expect(listing.map((line) => line.slice(line.indexOf("00:00 ") + 6))).to.deep.equal([
      long,
      `l -> ${"t".repeat(150)}`,
      "after",
    ]);
  });

  it("ends with an error that names the source which cannot be read, so that no half of it passes for whole", async () => {
    const source = join(folder, "nowhere");
    const parts: ArchivePart[] = [{ kind: "file", name: "a", mode: 0o644, source }];
    const failure = await buffer(packArchive(parts)).then(
      () => undefined,
      (error: Error) => error.message,
    );
    expect(failure)
      .to.match(/^ENOENT/)
      .and.to.include(source);
  });

  it("carries the bytes of a file that is larger than one piece", async () => {
    const content = Buffer.alloc(700_001, "0123456789");
    const source = join(folder, "large");
    writeFileSync(source, content);
    const archive = await buffer(packArchive([{ kind: "file", name: "large", mode: 0o644, source }]));
    expect(execFileSync("tar", ["-xO"], { input: archive }).equals(content)).to.equal(true);
  });

  it("takes what listFolder() finds: folders first, links as they are", async () => {
    mkdirSync(join(folder, "lib"));
    file("lib/b", "b", 0o444);
    file("a", "a", 0o755);
    symlinkSync("lib/b", join(folder, "z"));
    const names = (await listFolder(folder)).map(({ kind, name }) => `${kind} ${name}`);
    expect(names).to.deep.equal(["file a", "folder lib", "file lib/b", "link z"]);
  });
});
