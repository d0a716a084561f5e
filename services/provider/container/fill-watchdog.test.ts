import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { bundleWatchdog } from "../fixtures/watchdog-bundle.ts";
import { wholeTime } from "./fill-volume.ts";
import { fillWatchdogFolder } from "./fill-watchdog.ts";
import { makeWatchdogFolder } from "./watchdog-folder.ts";

describe("fillWatchdogFolder()", function () {
  this.timeout(60_000);
  let folder: string;
  let bundle: Awaited<ReturnType<typeof bundleWatchdog>>;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "busker-fill-"));
    bundle = await bundleWatchdog();
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await bundle.remove();
  });

  it("puts in what makeWatchdogFolder() makes, with its modes, though two do it at once", async () => {
    const target = mkdtempSync(join(folder, "target-"));
    const made = await makeWatchdogFolder(join(folder, "made"), bundle.file);
    const fills = [fillWatchdogFolder(target, bundle.file, made.version), fillWatchdogFolder(target, bundle.file)];
    for (const version of await Promise.all(fills)) expect(version).to.equal(made.version);
    expect(readdirSync(target).toSorted()).to.deep.equal(readdirSync(made.path).toSorted());
    for (const name of readdirSync(made.path))
      expect(statSync(join(target, name)).mode, name).to.equal(statSync(join(made.path, name)).mode);
    expect(statSync(target).mtime).to.deep.equal(wholeTime);
    expect(await fillWatchdogFolder(target, bundle.file)).to.equal(made.version);
    expect(readFileSync(join(target, "manifest.json"), "utf8")).to.equal(
      readFileSync(join(made.path, "manifest.json"), "utf8"),
    );
  });

  it("refuses to give another version than the one wanted, and leaves nothing", async () => {
    const target = mkdtempSync(join(folder, "target-"));
    const error = await fillWatchdogFolder(target, bundle.file, "0123456789abcdef").catch((reason: unknown) => reason);
    expect(error).to.have.property("code", "conflict");
    expect(String(error)).to.include("0123456789abcdef is wanted");
    expect(readdirSync(target)).to.deep.equal([]);
  });
});
