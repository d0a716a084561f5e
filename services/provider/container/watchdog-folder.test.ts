import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { makeWatchdogFolder, mountPoint } from "./watchdog-folder.ts";

/** The manifest's part that is checked. */
interface Manifest {
  readonly version: string;
  readonly files: readonly { readonly name: string; readonly sha256: string }[];
}

describe("makeWatchdogFolder()", () => {
  let root: string;
  let script: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "busker folder-"));
    script = join(root, "watchdog-source.mjs");
    writeFileSync(script, "console.log(process.execPath, JSON.stringify(process.env))");
  });

  afterEach(() => {
    for (const name of readdirSync(join(root, "w"))) {
      chmodSync(join(root, "w", name), 0o755);
      chmodSync(join(root, "w", name, "lib"), 0o755);
    }
    rmSync(root, { recursive: true });
  });

  const make = () => makeWatchdogFolder(join(root, "w"), script);

  it("makes a folder from which Node runs without anything else of this machine", async () => {
    const { path, node } = await make();
    const [loader = "", ...args] = [...node, `${mountPoint}/watchdog.mjs`].map((word) =>
      word.replace(mountPoint, path),
    );
    const { stdout } = await promisify(execFile)(loader, args, { env: { ONLY: "this" } });
    expect(stdout).to.equal(`${join(path, "loader")} {"ONLY":"this"}\n`);
  });

  it("names it after its content, and lists that with its hashes", async () => {
    const { path, version } = await make();
    const manifest = JSON.parse(readFileSync(join(path, "manifest.json"), "utf8")) as Manifest;
    expect(path).to.equal(join(root, "w", `${version}-${process.arch}`));
    expect(manifest.version).to.equal(version);
    for (const { name, sha256 } of manifest.files)
      expect(
        createHash("sha256")
          .update(readFileSync(join(path, name)))
          .digest("hex"),
        name,
      ).to.equal(sha256);
    const names = [...readdirSync(path), ...readdirSync(join(path, "lib")).map((name) => `lib/${name}`)];
    expect(names.sort()).to.deep.equal([...manifest.files.map(({ name }) => name), "lib", "manifest.json"].sort());
  });

  it("lets nobody write, and nobody read the loader, because that keeps the watchdog's memory from the function", async () => {
    const { path } = await make();
    const modeOf = (name: string): string => (statSync(join(path, name)).mode & 0o777).toString(8);
    expect(["", "lib", "node", "watchdog.mjs", "manifest.json", "loader"].map(modeOf)).to.deep.equal([
      "555",
      "555",
      "555",
      "444",
      "444",
      "111",
    ]);
  });

  it("keeps a folder that is there, because containers have it mounted", async () => {
    const first = await make();
    const { ino } = statSync(first.path);
    expect(await make()).to.deep.equal(first);
    expect(statSync(first.path).ino).to.equal(ino);
  });

  it("makes one folder when several ask at once, and leaves no draft", async () => {
    const made = await Promise.all([make(), make(), make()]);
    expect(new Set(made.map(({ path }) => path)).size).to.equal(1);
    expect(readdirSync(join(root, "w"))).to.have.length(1);
  });

  it("makes another folder for another watchdog", async () => {
    const first = await make();
    writeFileSync(script, "console.log(2)");
    expect((await make()).version).to.not.equal(first.version);
  });
});
