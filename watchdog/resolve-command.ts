import { accessSync, constants, statSync } from "node:fs";
import { delimiter, resolve } from "node:path";
import { BuskerError } from "../schemas/errors.ts";

/** A program's absolute path and its arguments: what a fork needs, without another look into PATH. */
export interface ResolvedCommand {
  readonly file: string;
  readonly args: readonly string[];
}

/** Where a function's environment runs and what it sees. */
export interface FunctionPlace {
  /** The whole environment of the function. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** Where programs are looked for when the function's environment has no PATH. */
const defaultPath = "/usr/local/bin:/usr/bin:/bin";

type Fitness = "runs" | "not executable" | "missing";

const fitnessOf = (file: string): Fitness => {
  try {
    if (!statSync(file).isFile()) return "missing";
  } catch {
    return "missing";
  }
  try {
    accessSync(file, constants.X_OK);
    return "runs";
  } catch {
    return "not executable";
  }
};

const candidates = (name: string, { env, cwd }: FunctionPlace): readonly string[] =>
  name.includes("/")
    ? [resolve(cwd, name)]
    : (env["PATH"] || defaultPath).split(delimiter).map((folder) => resolve(cwd, folder, name));

/** Finds the program of a command as a shell would. Throws `start_failed` when it is missing or may not be run. */
export const resolveCommand = (command: readonly string[], place: FunctionPlace): ResolvedCommand => {
  const [name = "", ...args] = command;
  const tried = candidates(name, place);
  const file = tried.find((path) => fitnessOf(path) === "runs");
  if (file !== undefined) return { file, args };
  const blocked = tried.find((path) => fitnessOf(path) === "not executable");
  const why = blocked === undefined ? `not found in ${tried.join(", ")}` : `${blocked} is not executable`;
  throw new BuskerError("start_failed", `cannot start the function's command ${JSON.stringify(name)}: ${why}`);
};
