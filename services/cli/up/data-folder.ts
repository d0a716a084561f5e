import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";
import { describeError } from "../../runtime/log.ts";
import { adminUser, passwordFile } from "../find-credentials.ts";

// Not `recursive: true`: below /proc, where nothing can be made, that never returns (seen on Node 20).
const makeFolder = (folder: string): void => {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder, { mode: 0o700 });
};

/** Makes the data folder, for its owner only, and gives its absolute path; throws when it cannot be written. */
export const prepareDataFolder = (path: string): string => {
  const folder = resolve(path);
  try {
    makeFolder(folder);
    // Tried and not asked: access() says yes to root even on a read-only file system.
    rmdirSync(mkdtempSync(join(folder, ".probe-")));
    return folder;
  } catch (error) {
    const why = `the data folder ${folder} (BUSKER_DATA) cannot be written: ${describeError(error)}`;
    throw new BuskerError("internal", `cannot start: ${why}`);
  }
};

const writePrivately = (file: string, text: string): void => {
  const draft = `${file}.new`;
  writeFileSync(draft, text, { mode: 0o600, flush: true });
  renameSync(draft, file);
};

/** The admin's password: made at the first start, 144 random bits, and kept in a file of its owner's. */
export const ensurePassword = (dataFolder: string): { readonly password: string; readonly isNew: boolean } => {
  const file = passwordFile(dataFolder);
  if (existsSync(file)) return { password: readFileSync(file, "utf8").trim(), isNew: false };
  const password = randomBytes(18).toString("base64url");
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writePrivately(join(dirname(file), "basic-auth-user"), adminUser);
  writePrivately(file, password);
  return { password, isNew: true };
};
