import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Environment } from "../runtime/config.ts";
import { isLocalGateway } from "./gateway-address.ts";
import { type Credentials, readLogins } from "./login-store.ts";

/** The platform's one user. */
export const adminUser = "admin";

/** The file of the admin's password in a data folder. */
export const passwordFile = (dataFolder: string): string => join(dataFolder, "secrets/basic-auth-password");

const readPassword = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return undefined;
  }
};

/**
 * What to authenticate with: the login stored for this gateway, else BUSKER_PASSWORD, else the password file of the
 * data folder on this machine (sent to a gateway on this machine only). Undefined when there is none.
 */
export const findCredentials = (gatewayUrl: string, env: Environment): Credentials | undefined => {
  const stored = readLogins(env)[gatewayUrl];
  if (stored) return stored;
  const given = env["BUSKER_PASSWORD"];
  if (given) return { user: adminUser, password: given };
  const own = isLocalGateway(gatewayUrl) ? readPassword(passwordFile(env["BUSKER_DATA"] || "data")) : undefined;
  return own ? { user: adminUser, password: own } : undefined;
};

/** The value of an `Authorization` header (RFC 7617). */
export const basicAuthorization = ({ user, password }: Credentials): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
