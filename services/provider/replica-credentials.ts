import { mintFunctionUser, renewFunctionUser, type Signer } from "../bus/mint.ts";
import type { ReplicaName } from "../bus/permissions.ts";
import { credentialsTime, replaceCredentials, type ReplicaPaths } from "./replica-folder.ts";

/** What makes the credentials of replicas. */
export interface Credentials {
  /** The text of a creds file, valid for `ttlMs`. */
  readonly mint: (replica: ReplicaName) => Promise<string>;
  /** The JWT that follows, for the public key of a replica's credentials. */
  readonly renew: (replica: ReplicaName, publicKey: string) => Promise<string>;
  readonly ttlMs: number;
}

/** Makes credentials with the account's signing key. */
export const createCredentials = (signer: Signer, ttlMs: number): Credentials => ({
  ttlMs,
  mint: ({ namespace, name, replica }) => mintFunctionUser({ namespace, name, replica, signer, ttlMs }),
  renew: ({ namespace, name, replica }, publicKey) =>
    renewFunctionUser({ namespace, name, replica, signer, ttlMs }, publicKey),
});

interface Kept {
  readonly replica: ReplicaName;
  readonly paths: ReplicaPaths;
}

// Looked at this often in one life: half of it is hit to the twentieth.
const looksPerLife = 20;
const longestLookMs = 60_000;

/** Renews credentials in place at half of their life. A file of an earlier provider counts from when it was written. */
export const keepCredentials = ({ mint, ttlMs }: Pick<Credentials, "mint" | "ttlMs">) => {
  const kept = new Map<string, Kept>();
  const renew = async ({ replica, paths }: Kept): Promise<void> => {
    const text = await mint(replica);
    // It may have ended meanwhile, and its folder gone.
    if (kept.has(replica.replica)) replaceCredentials(paths, text);
  };
  const look = (): void => {
    for (const entry of kept.values()) if (Date.now() - credentialsTime(entry.paths) >= ttlMs / 2) void renew(entry);
  };
  const timer = setInterval(look, Math.min(ttlMs / looksPerLife, longestLookMs));
  return {
    keep: (replica: ReplicaName, paths: ReplicaPaths): void => {
      kept.set(replica.replica, { replica, paths });
    },
    forget: (id: string): void => {
      kept.delete(id);
    },
    close: () => clearInterval(timer),
  };
};
