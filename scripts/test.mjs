// Runs the gates (build, types, lint, format), then mocha, and counts: a gate that fails is a failed test.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
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

const everything = ["schemas", "services", "watchdog", "scripts", "test"].map((folder) => `${folder}/**/*.test.ts`);

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

const runMocha = (args) =>
  new Promise((done) => {
    const folder = mkdtempSync(join(tmpdir(), "busker-test-"));
    const report = join(folder, "report.json");
    const files = args.length > 0 && !isOption(args[0]) ? [] : everything;
    const reporters = ["--reporter", join(root, "scripts/mocha-reporter.cjs"), "--reporter-option", `output=${report}`];
    const mocha = spawn(bin("mocha"), [...reporters, ...args, ...files], { cwd: root, stdio: "inherit" });
    mocha.on("close", (code) => {
      const counts = readCounts(report);
      rmSync(folder, { recursive: true });
      done(code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts);
    });
  });

const failedGates = gates.filter((gate) => !runGate(gate)).length;
const { passed, failed } = await runMocha(process.argv.slice(2));
const total = { passed: passed + gates.length - failedGates, failed: failed + failedGates };
process.exitCode = total.failed === 0 ? 0 : 1;
console.log(`${total.passed} passed, ${total.failed} failed`);
