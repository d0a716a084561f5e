import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { BacktestInput, BacktestResult } from "../../../schemas/backtest.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { distFolder } from "../paths.ts";

const program = (): string => {
  const file = join(distFolder, "services/scaler/run-backtest.js");
  if (existsSync(file)) return file;
  throw new BuskerError("internal", `cannot run a backtest: there is no ${file}; build it with node scripts/build.mjs`);
};

/** Runs the scaler's backtest as a process of its own, with the same code that decides on a platform. */
export const runBacktest = async (input: BacktestInput): Promise<BacktestResult> => {
  const child = spawn(process.execPath, [program()], { stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // It may have ended before it has read all; why, its exit code and its last words say.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify(input));
  const [output, words, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new BuskerError("internal", `the backtest has failed: ${words.trim() || `exit code ${code}`}`);
  return JSON.parse(output) as BacktestResult;
};
