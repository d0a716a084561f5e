import { readFileSync } from "node:fs";
import type { Replica } from "./replica.ts";

// The provider renews the file at half of its life; a replica goes over to it at this part of its own.
const renewAfter = 0.75;
// setTimeout's longest wait: a longer one would fire at once.
const longestWaitMs = 2 ** 31 - 1;

interface Life {
  readonly issuedMs: number;
  readonly expiresMs: number;
}

/** When the credentials in a file were made and run out; undefined when they do not run out or cannot be read. */
const readLife = (file: string): Life | undefined => {
  const jwt = /BEGIN NATS USER JWT-----\s+\S+?\.(\S+?)\.\S+/.exec(readFileSync(file, "utf8"))?.[1];
  if (!jwt) return undefined;
  const claims = JSON.parse(Buffer.from(jwt, "base64url").toString("utf8")) as { iat?: number; exp?: number };
  return claims.iat && claims.exp ? { issuedMs: claims.iat * 1000, expiresMs: claims.exp * 1000 } : undefined;
};

const remainingMs = ({ issuedMs, expiresMs }: Life): number =>
  Math.max(1000, issuedMs + (expiresMs - issuedMs) * renewAfter - Date.now());

/**
 * Connects again with renewed credentials before the old ones run out, because the server ends a connection whose
 * credentials have: drained first, so that no call is cut.
 */
export const scheduleRenewal = (file: string, replica: Replica): void => {
  const life = readLife(file);
  if (!life) return;
  const renew = async (): Promise<void> => {
    const renewed = readLife(file);
    // Not renewed yet: the provider may be away; it is asked for again soon.
    if (renewed && renewed.expiresMs > life.expiresMs) await replica.reconnect();
    scheduleRenewal(file, replica);
  };
  setTimeout(() => void renew(), Math.min(remainingMs(life), longestWaitMs)).unref();
};
