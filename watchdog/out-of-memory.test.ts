import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parseOomKills, watchOutOfMemory } from "./out-of-memory.ts";

describe("parseOomKills()", () => {
  const cases: readonly (readonly [string, string, number | undefined])[] = [
    ["control groups of version 2", "low 0\nhigh 0\nmax 31\noom 3\noom_kill 2\n", 2],
    ["those of version 1", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", 7],
    ["a kernel that does not count", "oom_kill_disable 0\nunder_oom 0\n", undefined],
    ["nothing", "", undefined],
  ];
  for (const [what, text, expected] of cases)
    it(`reads the file of ${what}`, () => expect(parseOomKills(text)).to.equal(expected));
});

describe("watchOutOfMemory()", () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), "busker-oom-"))));
  after(() => rmSync(folder, { recursive: true }));

  it("tells once of each rise of the count, with the limit, and nothing of what was before", () => {
    const file = join(folder, "memory.events");
    const told: string[] = [];
    writeFileSync(file, "oom_kill 1\n");
    const memory = watchOutOfMemory("64Mi", (text) => told.push(text), ["/no/such/file", file]);
    memory.look();
    expect(told).to.deep.equal([]);
    writeFileSync(file, "oom_kill 3\n");
    memory.look();
    memory.look();
    expect(told).to.have.length(1);
    expect(told[0]).to.include("out of memory").and.include("64Mi");
  });

  it("says nothing where there is no group", () => {
    watchOutOfMemory("64Mi", () => expect.fail("told"), []).look();
  });
});
