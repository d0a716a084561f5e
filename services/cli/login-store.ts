import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import type { Environment } from "../runtime/config.ts";

/** A user and password for one gateway. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

type Logins = Readonly<Record<string, Credentials>>;

const storeFolder = (env: Environment): string => env["BUSKER_CONFIG"] || join(env["HOME"] || homedir(), ".busker");

/** The file that `busker login` writes: `config.json` in BUSKER_CONFIG, or in `~/.busker`. */
export const loginFile = (env: Environment): string => join(storeFolder(env), "config.json");

/** Every stored login by gateway URL; none when there is no file. Throws when the file is not what `login` writes. */
export const readLogins = (env: Environment): Logins => {
  const file = loginFile(env);
  try {
    return (JSON.parse(readFileSync(file, "utf8")) as { logins?: Logins }).logins ?? {};
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new BuskerError("internal", `cannot read ${file}: repair or remove it, then run busker login`, {
      cause: error,
    });
  }
};

/** Stores one gateway's login beside the others, readable by its owner only; replaces the file in one step. */
export const writeLogin = (env: Environment, gatewayUrl: string, credentials: Credentials): void => {
  const file = loginFile(env);
  const logins = { ...readLogins(env), [gatewayUrl]: credentials };
  mkdirSync(storeFolder(env), { recursive: true, mode: 0o700 });
  const next = `${file}.${process.pid}`;
  writeFileSync(next, `${JSON.stringify({ logins }, undefined, 2)}\n`, { mode: 0o600 });
  chmodSync(next, 0o600);
  renameSync(next, file);
};
