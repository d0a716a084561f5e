#!/usr/bin/env node
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fillWatchdogFolder } from "./container/fill-watchdog.ts";
import { makeWatchdogFolder } from "./container/watchdog-folder.ts";

/*
 * Fills the volume with the watchdog (infra/watchdog/Dockerfile):
 *
 *   fill-watchdog.js FOLDER [--version VERSION] [--stay]   refuses when its content is not VERSION; stays until it is told to stop
 *   fill-watchdog.js --show                                prints the version and the architecture of its content
 */

const watchdogFile = fileURLToPath(new URL("../../watchdog/watchdog.mjs", import.meta.url));

const show = async (): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-watchdog-"));
  try {
    const { version } = await makeWatchdogFolder(folder, watchdogFile);
    process.stdout.write(`${version} ${process.arch}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const untilTold = (): Promise<void> =>
  new Promise((done) => {
    const awake = setInterval(() => {}, 2 ** 30);
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => {
        clearInterval(awake);
        done();
      });
  });

const { values, positionals } = parseArgs({
  options: { version: { type: "string" }, stay: { type: "boolean" }, show: { type: "boolean" } },
  allowPositionals: true,
});
const [folder] = positionals;

try {
  if (values.show) await show();
  else if (folder === undefined) throw new RangeError("a folder to fill must be named");
  else {
    const version = await fillWatchdogFolder(folder, watchdogFile, values.version);
    process.stdout.write(`${folder} holds watchdog ${version} for ${process.arch}\n`);
    if (values.stay) await untilTold();
  }
} catch (error) {
  process.stderr.write(`fill-watchdog: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
