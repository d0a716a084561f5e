import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Environment } from "../runtime/config.ts";
import { commandName } from "./command-name.ts";
import { isLocalGateway } from "./gateway-address.ts";
import { type Credentials, loginFile, readLogins } from "./login-store.ts";

/** The folder of the platform on this machine, as far as it is known. */
export const dataFolderOf = (env: Environment): string => env["BUSKER_DATA"] || "data";

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
  const own = isLocalGateway(gatewayUrl) ? readPassword(passwordFile(dataFolderOf(env))) : undefined;
  return own ? { user: adminUser, password: own } : undefined;
};

/** What to say when a gateway refuses what `findCredentials` has found, or has not. */
export const explainRefusal = (gatewayUrl: string, env: Environment): string => {
  const advice = `run \`${commandName(env)} login -g ${gatewayUrl}\``;
  if (findCredentials(gatewayUrl, env)) return `${gatewayUrl} refused these credentials: ${advice}`;
  const own = resolve(passwordFile(dataFolderOf(env)));
  const local = isLocalGateway(gatewayUrl) ? `, nor could ${own} be read (BUSKER_DATA says where it is)` : "";
  return `${gatewayUrl} wants a password, and none was found: not in ${loginFile(env)} nor in BUSKER_PASSWORD${local}: ${advice}`;
};

/** The value of an `Authorization` header (RFC 7617). */
export const basicAuthorization = ({ user, password }: Credentials): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
