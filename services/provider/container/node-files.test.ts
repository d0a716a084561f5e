import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readElfFile } from "./elf.ts";
import { findNodeFiles, mappedFiles } from "./node-files.ts";

/** The head of an ELF file without segments: 64 bits, little-endian. */
const bareElf = (): Buffer => {
  const head = Buffer.alloc(64);
  head.write("\x7fELF\x02\x01", "latin1");
  return head;
};

describe("findNodeFiles()", () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), "busker-elf-"))));
  after(() => rmSync(folder, { recursive: true }));

  it("finds the loader of this Node and a file for each library that it or they need", () => {
    const { loader, libraries } = findNodeFiles();
    const known = new Set(libraries.keys());
    expect(loader).to.match(/\/ld-/);
    for (const path of [process.execPath, ...libraries.values()])
      for (const name of readElfFile(path).needed)
        expect(known.has(name) || name.startsWith("ld-") || name.startsWith("libc."), `${name} of ${path}`).to.equal(
          true,
        );
  });

  const refused: readonly (readonly [string, Buffer, string])[] = [
    ["a Node that is linked statically", bareElf(), "it is linked statically"],
    ["a script in its place", Buffer.from("#!/bin/sh\nexec node"), "it is no ELF file"],
    ["a 32-bit program", Buffer.from("\x7fELF\x01\x01", "latin1"), "it is no 64-bit little-endian ELF file"],
    ["a file that is cut off", bareElf().subarray(0, 20), "cannot be read"],
  ];
  for (const [what, content, message] of refused)
    it(`refuses ${what}, saying so and what to do`, () => {
      const file = join(folder, "node");
      writeFileSync(file, content);
      expect(() => findNodeFiles(file))
        .to.throw(message)
        .with.property("code", "internal");
    });
});

describe("mappedFiles()", () => {
  it("takes each file that is mapped to be executed once, spaces and all", () => {
    const maps = [
      "7f00-7f01 r--p 00000000 fe:00 12                         /lib/libc.so.6",
      "7f01-7f02 r-xp 00001000 fe:00 12                         /lib/libc.so.6",
      "7f03-7f04 r-xp 00001000 fe:00 13                         /opt/my libs/libx.so",
      "7f05-7f06 r-xp 00000000 00:00 0                          [vdso]",
      "7f07-7f08 rwxp 00000000 00:00 0 ",
      "7f09-7f0a r--p 00000000 fe:00 14                         /usr/share/data",
      "",
    ];
    expect(mappedFiles(maps.join("\n"))).to.deep.equal(["/lib/libc.so.6", "/opt/my libs/libx.so"]);
  });
});
