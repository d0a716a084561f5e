#!/usr/bin/env node
// Builds dist/ from the tree: JavaScript by tsc, the one-file watchdog and the samples by esbuild, other files as they
// are. An unchanged tree is recognised by a stamp. A new dist/ replaces the old one by a rename, so that a platform
// that runs from it never meets half of one.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const dist = join(root, "dist");
const next = `${dist}.next-${process.pid}`;
const samples = join(root, "services/cli/samples");
const sources = ["schemas", "services", "watchdog"];
const inputs = [...sources, "scripts/build.mjs", "package-lock.json", "tsconfig.json"];

const listFiles = (path) => {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? listFiles(join(path, entry.name)) : [join(path, entry.name)]))
    .sort();
};

// Size and time instead of content: the same answer for an edited tree, in a few milliseconds.
const stampOf = (files) => {
  const hash = createHash("sha256");
  for (const file of files) {
    const { size, mtimeMs, mode } = statSync(file);
    hash.update(`${relative(root, file)} ${size} ${mtimeMs} ${mode}\n`);
  }
  return hash.digest("hex");
};

// Types are a gate of their own (`tsc --noEmit`): a platform must start while somebody is half-way through a change.
const compile = () => {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [tsc, "--noCheck", "--declaration", "--outDir", next], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) throw new Error("tsc found the errors above");
};

const copyOthers = () => {
  for (const file of sources.flatMap((folder) => listFiles(join(root, folder)))) {
    if (extname(file) === ".ts" || file.startsWith(samples) || file.includes("/fixtures/")) continue;
    cpSync(file, join(next, relative(root, file)));
  }
};

const bundle = (entry, outfile, options = {}) =>
  build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "warning",
    ...options,
  });

// Some dependencies are CommonJS and call require() for Node's own modules, which an ES module does not have.
const requireBanner = {
  js: 'import{createRequire as busker_createRequire}from"node:module";const require=busker_createRequire(import.meta.url);',
};

const bundleWatchdog = async () => {
  const entry = join(root, "watchdog/main.ts");
  if (!existsSync(entry))
    return console.error("build: watchdog/main.ts is not there, so there is no watchdog in dist/");
  // As CommonJS, because only few replicas unpack a bundle: the others would load its modules of Node's at their start.
  const alias = { tar: join(root, "node_modules/tar/dist/commonjs/index.js") };
  return bundle(entry, join(next, "watchdog/watchdog.mjs"), { minify: true, banner: requireBanner, alias });
};

// A sample's scripts are bundled with what they import, so that its folder runs anywhere without an installation.
const buildSamples = async () => {
  for (const file of listFiles(samples)) {
    const target = join(next, "samples", relative(samples, file));
    mkdirSync(dirname(target), { recursive: true });
    if (extname(file) === ".mjs") await bundle(file, target);
    else cpSync(file, target);
  }
};

// Two builds at a time may both replace dist/; the later one wins, and each is whole.
const replaceDist = () => {
  const old = `${next}-old`;
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (existsSync(dist)) renameSync(dist, old);
      renameSync(next, dist);
      break;
    } catch (error) {
      if (attempt === 5) throw error;
    }
  }
  rmSync(old, { recursive: true, force: true });
};

const run = async () => {
  const files = inputs.flatMap((path) => listFiles(join(root, path))).filter((file) => !basename(file).endsWith("~"));
  const stamp = stampOf(files);
  const stampFile = join(dist, ".stamp");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  mkdirSync(next, { recursive: true });
  try {
    compile();
    copyOthers();
    await bundleWatchdog();
    await buildSamples();
    writeFileSync(join(next, ".stamp"), stamp);
    replaceDist();
  } finally {
    rmSync(next, { recursive: true, force: true });
  }
};

await run().catch((error) => {
  console.error(`build: ${error.message}`);
  process.exitCode = 1;
});
