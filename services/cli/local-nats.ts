import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { relative } from "node:path";
import { credentialsPath } from "../bus/trust-files.ts";
import type { Environment } from "../runtime/config.ts";
import { dataFolderOf } from "./find-credentials.ts";
import { isLocalGateway } from "./gateway-address.ts";
import { readUrl, serverFiles } from "./nats-server-files.ts";

/** A path as it is shortest and can be copied all the same: from the current folder when it is below it. */
export const showPath = (path: string): string => {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : short;
};

const findUrl = async (dataFolder: string): Promise<string | undefined> => {
  const files = serverFiles(dataFolder);
  try {
    return await readUrl(files, Number.parseInt(await readFile(files.pid, "utf8"), 10));
  } catch {
    // No server has run here, or not this user's.
    return undefined;
  }
};

/** The options with which `nats` reaches the platform on this machine; undefined for one elsewhere, or of somebody else. */
export const natsOptions = async (gatewayUrl: string, env: Environment): Promise<string | undefined> => {
  if (!isLocalGateway(gatewayUrl)) return undefined;
  const credentials = credentialsPath(dataFolderOf(env), "invoke");
  const url = existsSync(credentials) ? await findUrl(dataFolderOf(env)) : undefined;
  return url === undefined ? undefined : `--server ${url} --creds ${showPath(credentials)}`;
};
