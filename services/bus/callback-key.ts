import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import { makePrivateFolder, writeOnce } from "./trust-files.ts";

/** Where a data folder has the key that callbacks are signed with. */
export const callbackKeyFile = (dataFolder: string): string => join(dataFolder, "secrets", "callback-key");

const keyPrefix = "whsec_";
const keyBytes = 32;

/**
 * Makes the key that callbacks are signed with, unless there is one: `whsec_` and the base64 of 32 random bytes, as Standard
 * Webhooks writes keys, in a file of its owner's. Of two starts at once the second keeps the first one's.
 */
export const ensureCallbackKey = async (dataFolder: string): Promise<void> => {
  const file = callbackKeyFile(dataFolder);
  await makePrivateFolder(dirname(file));
  await writeOnce(file, `${keyPrefix}${randomBytes(keyBytes).toString("base64")}`);
};

/** Reads the key. Throws `internal` naming the file when it holds none. */
export const readCallbackKey = async (file: string): Promise<Buffer> => {
  try {
    const text = (await readFile(file, "utf8")).trim();
    const key = Buffer.from(text.slice(keyPrefix.length), "base64");
    if (text.startsWith(keyPrefix) && key.length >= 24 && key.length <= 64) return key;
    throw new RangeError(`it must hold ${keyPrefix} and 24 to 64 bytes in base64`);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BuskerError(
      "internal",
      `could not read the key that callbacks are signed with from ${file}: ${reason}; busker up and busker keys make it`,
      { cause },
    );
  }
};
