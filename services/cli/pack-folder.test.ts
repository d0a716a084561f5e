import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { packFolder } from "./pack-folder.ts";
import { readArchive } from "./read-archive.ts";

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "no error",
    (error: unknown) => (error instanceof BuskerError ? `${error.code}: ${error.message}` : String(error)),
  );

describe("packFolder()", () => {
  let folder: string;
  const write = (path: string, text: string, mode = 0o644): void => {
    writeFileSync(join(folder, path), text);
    chmodSync(join(folder, path), mode);
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "busker-pack-"));
    mkdirSync(join(folder, "lib"));
    write("handler.mjs", "export default () => 1;");
    write("lib/tool.sh", "#!/bin/sh\n", 0o755);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("gives the same bytes for another time, owner's mode and order of creation, because the hash names the code", async () => {
    const first = await packFolder(folder);
    const twin = mkdtempSync(join(tmpdir(), "busker-pack-"));
    mkdirSync(join(twin, "lib"), { mode: 0o700 });
    writeFileSync(join(twin, "lib/tool.sh"), "#!/bin/sh\n");
    chmodSync(join(twin, "lib/tool.sh"), 0o700);
    writeFileSync(join(twin, "handler.mjs"), "export default () => 1;", { mode: 0o600 });
    utimesSync(join(twin, "handler.mjs"), 1, 1);
    expect((await packFolder(twin)).equals(first)).to.equal(true);
    rmSync(twin, { recursive: true });
  });

  it("gives other bytes for another content and for an executable bit, because both change what runs", async () => {
    const first = await packFolder(folder);
    write("lib/tool.sh", "#!/bin/sh\n", 0o644);
    const second = await packFolder(folder);
    write("handler.mjs", "export default () => 2;");
    const third = await packFolder(folder);
    expect([first.equals(second), second.equals(third)]).to.deep.equal([false, false]);
  });

  it("leaves .git out, because it is no part of the function and changes by itself", async () => {
    const first = await packFolder(folder);
    mkdirSync(join(folder, ".git"));
    write(".git/HEAD", "ref");
    expect((await packFolder(folder)).equals(first)).to.equal(true);
  });

  it("makes an archive that the system's tar unpacks, a name that begins with @ included", async () => {
    write("@odd name", "x");
    symlinkSync("lib/tool.sh", join(folder, "link"));
    const listing = execFileSync("tar", ["tzf", "-"], { input: await packFolder(folder) }).toString();
    expect(listing.split("\n")).to.include.members(["./@odd name", "./link", "./lib/", "./lib/tool.sh"]);
  });

  const escapes = ["../outside", "/etc/passwd", "lib/../../outside"];
  for (const target of escapes)
    it(`refuses a symbolic link to ${target}, because it leaves the folder`, async () => {
      symlinkSync(target, join(folder, "link"));
      expect(await codeOf(packFolder(folder))).to.match(/^invalid_request: cannot pack link: a symbolic link must/);
    });

  it("refuses a link that leaves the folder by way of another link, because only the real path tells", async () => {
    symlinkSync("lib", join(folder, "lib/here"));
    symlinkSync("/", join(folder, "lib/root"));
    expect(await codeOf(packFolder(folder))).to.contain("lib/root");
  });

  it("refuses an empty folder and a pipe, because neither is a function", async () => {
    execFileSync("mkfifo", [join(folder, "pipe")]);
    expect(await codeOf(packFolder(folder))).to.contain("only files, folders and symbolic links");
    const empty = mkdtempSync(join(tmpdir(), "busker-pack-"));
    expect(await codeOf(packFolder(empty))).to.contain("the folder is empty");
    rmSync(empty, { recursive: true });
  });
});

describe("readArchive()", () => {
  it("gives the paths and the text of function.yaml of what packFolder() made", async () => {
    const folder = mkdtempSync(join(tmpdir(), "busker-pack-"));
    writeFileSync(join(folder, "function.yaml"), "fprocess: cat\n");
    const content = await readArchive("x", await packFolder(folder));
    expect(content).to.deep.equal({ paths: ["function.yaml"], functionFile: "fprocess: cat\n" });
    rmSync(folder, { recursive: true });
  });

  it("refuses bytes that are no gzip, a cut archive, and an entry outside", async () => {
    const folder = mkdtempSync(join(tmpdir(), "busker-pack-"));
    writeFileSync(join(folder, "a"), "a".repeat(2000));
    const whole = await packFolder(folder);
    expect(await codeOf(readArchive("x.tgz", Buffer.from("no")))).to.contain("it is not gzip");
    expect(await codeOf(readArchive("x.tgz", whole.subarray(0, whole.length - 12)))).to.contain("not a whole .tar.gz");
    const evil = execFileSync("tar", ["czPf", "-", "--transform", "s,^,../,", "a"], { cwd: folder });
    expect(gunzipSync(evil).toString("latin1")).to.contain("../a");
    expect(await codeOf(readArchive("x.tgz", evil))).to.contain("leaves the archive's own folder");
    rmSync(folder, { recursive: true });
  });
});
