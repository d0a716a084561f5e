import { readFileSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import { checkName, defaultNamespace, type FunctionName } from "../../schemas/names.ts";
import { buildDeployment, type FunctionDeployment } from "./build-deployment.ts";
import { type FunctionSettings, readFunctionFile } from "./function-file.ts";
import type { GatewayClient } from "./gateway-client.ts";
import { asUsage, urlName } from "./options.ts";
import { packFolder } from "./pack-folder.ts";
import { readArchive } from "./read-archive.ts";

/** What is to be deployed: a folder or an archive of one, and what the caller says besides its `function.yaml`. */
export interface DeployRequest {
  readonly path: string;
  /** Default: the folder's or archive's own. */
  readonly name?: string;
  readonly settings: FunctionSettings;
}

/** What was deployed. */
export interface Deployed extends FunctionName {
  readonly image: string;
  readonly url: string;
  readonly done: "created" | "updated";
  /** Replicas wished for and, of them, ready; absent where the gateway does not tell. */
  readonly replicas?: number;
  readonly availableReplicas?: number;
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

type Put = Pick<Deployed, "done" | "replicas" | "availableReplicas">;

/** The replicas that the gateway's answer tells of; OpenFaaS's own answers with nothing. */
const readReplicas = async (response: Response): Promise<Omit<Put, "done">> => {
  const text = await response.text();
  if (!text.startsWith("{")) return {};
  const { replicas, availableReplicas } = JSON.parse(text) as Omit<Put, "done">;
  return replicas === undefined || availableReplicas === undefined ? {} : { replicas, availableReplicas };
};

// Update first and create when there is nothing to update, as faas-cli does: deploying twice is no error.
const putFunction = async (gateway: GatewayClient, deployment: FunctionDeployment): Promise<Put> => {
  const what = `deploy ${deployment.service}`;
  const request = { path: "/system/functions", json: deployment };
  const update = await gateway.send({ ...request, method: "PUT" });
  if (update.ok) return { done: "updated", ...(await readReplicas(update)) };
  if (update.status !== 404) throw await gateway.failure(what, update);
  await update.body?.cancel();
  const created = await gateway.call(what, { ...request, method: "POST" });
  return { done: "created", ...(await readReplicas(created)) };
};

/**
 * Packs a folder, uploads it and makes it a function, or the new code of the function of that name. What cannot be run
 * is refused before anything is uploaded. Deploying the same folder twice changes nothing.
 */
export const deployFolder = async (gateway: GatewayClient, request: DeployRequest): Promise<Deployed> => {
  const { path, settings } = request;
  const bytes = isFolder(path) ? await packFolder(path) : readFileSync(path);
  const { paths, functionFile } = await readArchive(path, bytes);
  const file = functionFile === undefined ? {} : readFunctionFile(functionFile);
  const namespace = asUsage(() => checkName("namespace", settings.namespace ?? file.namespace ?? defaultNamespace));
  const name = { name: nameOf(request), namespace };
  const source = { ...name, file, flags: settings, paths };
  buildDeployment({ ...source, image: "" });
  const image = await uploadBundle(gateway, bytes);
  const put = await putFunction(gateway, buildDeployment({ ...source, image }));
  return { ...name, image, url: `${gateway.url}/function/${urlName(name)}`, ...put };
};
