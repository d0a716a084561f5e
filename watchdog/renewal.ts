import type { Bus } from "../services/bus/connection.ts";
import type { CredentialSource } from "../services/bus/credentials.ts";
import type { Replica } from "./replica.ts";

// The provider renews credentials at half of their life; a replica goes over to them at this part of it.
const renewAfter = 0.75;
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

/**
 * Ends a replica whose credentials are in memory alone when they have run out and a server has refused them: the order that
 * would renew them comes over the bus, where this replica never comes again. Whoever started it starts another.
 */
export const endWhenLapsed = (
  bus: Pick<Bus, "onRefused">,
  credentials: CredentialSource,
  over: (reason: string) => void,
): void =>
  bus.onRefused(() => {
    const { expiresMs = Number.POSITIVE_INFINITY } = readLife(credentials) ?? {};
    if (expiresMs <= Date.now()) over("its credentials ran out and were not renewed");
  });
