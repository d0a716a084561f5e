import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SecretOrder } from "../schemas/invocation.ts";
import type { ReplicaSecrets } from "../schemas/launch.ts";
import { openSecretOrder } from "../services/bus/secret-order.ts";

/** The secrets of this replica, as files that the function reads. */
export interface SecretFiles {
  /**
   * Puts a newer value in an older one's place: who reads sees the one or the other, whole. Without effect on an older
   * one. Throws saying why it cannot, and never a word of a value.
   */
  readonly renew: (order: SecretOrder) => void;
}

// Only its owner reads it: the watchdog's user, which is the function's.
const mode = 0o400;

// A name that no secret has, and that is never too long.
const draftName = ".new";

/** Writes a file whole or not at all. */
const writeSecret = (folder: string, name: string, value: Buffer): void => {
  const draft = join(folder, draftName);
  try {
    rmSync(draft, { force: true });
    writeFileSync(draft, value, { mode });
    renameSync(draft, join(folder, name));
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new Error(`could not write secret ${name} to ${folder}`, { cause });
  }
};

/** Writes the secrets of a launch, before the function starts. Throws as `renew` does. */
export const openSecretFiles = (replica: string, { folder, key, files }: ReplicaSecrets): SecretFiles => {
  const keyBytes = Buffer.from(key, "base64");
  const versions = new Map<string, number>();
  for (const [name, { version, value }] of Object.entries(files)) {
    writeSecret(folder, name, Buffer.from(value, "base64"));
    versions.set(name, version);
  }
  return {
    renew: (order) => {
      const { name, version } = order;
      // One that this replica was not given is not made, whoever sends it.
      if (version <= (versions.get(name) ?? Number.POSITIVE_INFINITY)) return;
      writeSecret(folder, name, openSecretOrder(keyBytes, replica, order));
      versions.set(name, version);
    },
  };
};
