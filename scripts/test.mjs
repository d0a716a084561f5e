// Runs the gates (build, types, lint, format), then mocha, and counts: a gate that fails is a failed test.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const bin = (name) => join(root, "node_modules/.bin", name);

// The build comes first, because whole-system tests run what it makes.
const gates = [
  ["build", process.execPath, ["scripts/build.mjs"]],
  ["types", bin("tsc"), ["--noEmit"]],
  ["lint", bin("oxlint"), ["--type-aware", "--deny-warnings"]],
  ["format", bin("oxfmt"), ["--check"]],
];

const testFiles = ["schemas", "services", "watchdog", "scripts", "test"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => join(folder, file))
    .toSorted(),
);

// What starts engines waits for them half of its time: it runs beside the rest, which takes about as long.
const startsEngines = (file) =>
  /\/(engine|swarm|swarm-contract|own-images|registry|docker-backend)\.ts"/.test(
    readFileSync(join(root, file), "utf8"),
  );

const runGate = ([name, command, args]) => {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  const passed = status === 0;
  console.log(passed ? `gate ${name}: passed` : `${stdout}${stderr}gate ${name}: FAILED`);
  return passed;
};

// What mocha counted, from its own report; a run that wrote none has failed as a whole.
const readCounts = (report) => {
  try {
    const { passes, failures } = JSON.parse(readFileSync(report, "utf8")).stats;
    return { passed: passes, failed: failures };
  } catch {
    return { passed: 0, failed: 1 };
  }
};

const isOption = (argument) => argument.startsWith("-");

/** Runs mocha once. `isQuiet`: what it says is kept, and said when it has ended. */
const runMocha = (args, files, isQuiet = false) =>
  new Promise((done) => {
    const folder = mkdtempSync(join(tmpdir(), "busker-test-"));
    const report = join(folder, "report.json");
    const reporters = ["--reporter", join(root, "scripts/mocha-reporter.cjs"), "--reporter-option", `output=${report}`];
    const stdio = isQuiet ? ["inherit", "pipe", "pipe"] : "inherit";
    const mocha = spawn(bin("mocha"), [...reporters, ...args, ...files], { cwd: root, stdio });
    const said = [];
    for (const stream of [mocha.stdout, mocha.stderr]) stream?.on("data", (chunk) => said.push(chunk));
    mocha.on("close", (code) => {
      process.stdout.write(Buffer.concat(said));
      const counts = readCounts(report);
      rmSync(folder, { recursive: true });
      done(code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts);
    });
  });

const runAll = (args) =>
  Promise.all([
    runMocha(
      args,
      testFiles.filter((file) => !startsEngines(file)),
    ),
    runMocha(args, testFiles.filter(startsEngines), true),
  ]);

const failedGates = gates.filter((gate) => !runGate(gate)).length;
const args = process.argv.slice(2);
const runs = args.length > 0 && !isOption(args[0]) ? [await runMocha(args, [])] : await runAll(args);
const sum = (of) => runs.reduce((total, run) => total + run[of], 0);
const total = { passed: sum("passed") + gates.length - failedGates, failed: sum("failed") + failedGates };
process.exitCode = total.failed === 0 ? 0 : 1;
console.log(`${total.passed} passed, ${total.failed} failed`);
