import { readFileSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import { checkName, defaultNamespace } from "../../schemas/names.ts";
import { buildDeployment } from "./build-deployment.ts";
import { type FunctionSettings, readFunctionFile } from "./function-file.ts";
import type { GatewayClient } from "./gateway-client.ts";
import { asUsage } from "./options.ts";
import { packFolder } from "./pack-folder.ts";
import { type Deployed, putFunction } from "./put-function.ts";
import { readArchive } from "./read-archive.ts";
import type { TellProgress } from "./wish-answer.ts";

/** What is to be deployed: a folder or an archive of one, and what the caller says besides its `function.yaml`. */
export interface DeployRequest {
  readonly path: string;
  /** Default: the folder's or archive's own. */
  readonly name?: string;
  readonly settings: FunctionSettings;
}

const archiveEnding = /\.(tar\.gz|tgz)$/;

const isFolder = (path: string): boolean => {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) return true;
  if (found?.isFile() && archiveEnding.test(path)) return false;
  const why = found ? "it is neither a folder nor a .tar.gz or .tgz archive" : "there is no such file or folder";
  throw new BuskerError("invalid_request", `cannot deploy ${path}: ${why}`);
};

const nameOf = ({ path, name }: DeployRequest): string => {
  if (name !== undefined) return asUsage(() => checkName("--name", name));
  const own = basename(resolve(path)).replace(archiveEnding, "");
  return asUsage(() => checkName("the folder's name (give another with --name)", own));
};

const uploadBundle = async (gateway: GatewayClient, bytes: Buffer): Promise<string> => {
  const response = await gateway.call("upload the function's code", {
    method: "POST",
    path: "/system/bundles",
    body: bytes,
    contentType: "application/gzip",
  });
  return ((await response.json()) as { image: string }).image;
};

/**
 * Packs a folder, uploads it and makes it a function, or the new code of the function of that name. What cannot be run
 * is refused before anything is uploaded. Deploying the same folder twice changes nothing.
 */
export const deployFolder = async (
  gateway: GatewayClient,
  request: DeployRequest,
  tell?: TellProgress,
): Promise<Deployed> => {
  const { path, settings } = request;
  const bytes = isFolder(path) ? await packFolder(path) : readFileSync(path);
  const { paths, functionFile } = await readArchive(path, bytes);
  const file = functionFile === undefined ? {} : readFunctionFile(functionFile);
  const namespace = asUsage(() => checkName("namespace", settings.namespace ?? file.namespace ?? defaultNamespace));
  const name = { name: nameOf(request), namespace };
  const source = { ...name, file, flags: settings, paths };
  buildDeployment({ ...source, image: "" });
  const image = await uploadBundle(gateway, bytes);
  return putFunction(gateway, buildDeployment({ ...source, image }), tell);
};
