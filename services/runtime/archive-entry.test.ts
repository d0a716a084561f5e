import { expect } from "chai";
import { refuseEntry } from "./archive-entry.ts";

const link = (path: string, linkpath: string, type = "SymbolicLink") => ({ path, type, linkpath });

describe("refuseEntry()", () => {
  const fine = [
    { path: "./handler.mjs", type: "File" },
    { path: "a/b/", type: "Directory" },
    { path: "..hidden", type: "File" },
    link("bin/run", "../lib/run.sh"),
    link("a", "./b"),
    link("copy", "lib/run.sh", "Link"),
  ];
  for (const entry of fine)
    it(`takes ${JSON.stringify(entry)}, because it stays in the bundle`, () => {
      expect(refuseEntry(entry)).to.equal(undefined);
    });

  const hostile: readonly (readonly [Parameters<typeof refuseEntry>[0], string])[] = [
    [{ path: "/etc/cron.d/x", type: "File" }, "absolute"],
    [{ path: "../x", type: "File" }, ".."],
    [{ path: "a/../../x", type: "File" }, ".."],
    [{ path: "a/..", type: "Directory" }, ".."],
    [{ path: "", type: "File" }, "no usable name"],
    [link("etc", "/etc"), "no relative path"],
    [link("up", ".."), "leaves"],
    [link("a/b", "../../x"), "leaves"],
    [link("passwd", "../etc/passwd", "Link"), "leaves"],
    [link("empty", ""), "no relative path"],
    [{ path: "dev", type: "CharacterDevice" }, "CharacterDevice"],
    [{ path: "pipe", type: "FIFO" }, "FIFO"],
  ];
  for (const [entry, says] of hostile)
    it(`refuses ${JSON.stringify(entry)} with "${says}", because it would reach outside`, () => {
      expect(refuseEntry(entry)).to.include(says);
    });
});
