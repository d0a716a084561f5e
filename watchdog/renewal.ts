import type { Bus } from "../services/bus/connection.ts";
import type { CredentialSource } from "../services/bus/credentials.ts";
import type { Replica } from "./replica.ts";

// The provider renews credentials at half of their life; a replica goes over to them at this part of it.
const renewAfter = 0.75;
// The server may be away when they run out, and nothing changes then.
const runOutLookMs = 1000;
// setTimeout's longest wait: a longer one would fire at once.
const longestWaitMs = 2 ** 31 - 1;

interface Life {
  readonly issuedMs: number;
  readonly expiresMs: number;
}

/** When the credentials were made and run out; undefined when they do not run out. */
const readLife = (credentials: CredentialSource): Life | undefined => {
  const body = credentials.jwt().split(".")[1] ?? "";
  const claims = JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as { iat?: number; exp?: number };
  return claims.iat && claims.exp ? { issuedMs: claims.iat * 1000, expiresMs: claims.exp * 1000 } : undefined;
};

const remainingMs = ({ issuedMs, expiresMs }: Life): number =>
  Math.max(1000, issuedMs + (expiresMs - issuedMs) * renewAfter - Date.now());

/**
 * Calls `onRunOut` when there is no connection and these credentials make none any more. For credentials in memory:
 * renewed ones come over the connection, so that they never come again. One that was frozen for long meets this.
 */
export const watchRunOut = (credentials: CredentialSource, bus: Bus, onRunOut: (reason: string) => void): void => {
  const look = (): void => {
    const life = readLife(credentials);
    if (life && Date.now() >= life.expiresMs && !bus.isConnected())
      onRunOut(`its credentials ran out at ${new Date(life.expiresMs).toISOString()}, and its connection is gone`);
  };
  bus.onChange(look);
  setInterval(look, runOutLookMs).unref();
};

/**
 * Connects again with renewed credentials before the old ones run out, because the server ends a connection whose
 * credentials have: drained first, so that no call is cut.
 */
export const scheduleRenewal = (credentials: CredentialSource, replica: Replica): void => {
  const life = readLife(credentials);
  if (!life) return;
  const renew = async (): Promise<void> => {
    const renewed = readLife(credentials);
    // Not renewed yet: the provider may be away; it is asked for again soon.
    if (renewed && renewed.expiresMs > life.expiresMs) await replica.reconnect();
    scheduleRenewal(credentials, replica);
  };
  setTimeout(() => void renew(), Math.min(remainingMs(life), longestWaitMs)).unref();
};
