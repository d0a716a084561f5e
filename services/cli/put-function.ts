import type { FunctionName } from "../../schemas/names.ts";
import type { FunctionDeployment } from "./build-deployment.ts";
import type { GatewayClient } from "./gateway-client.ts";
import { urlName } from "./options.ts";

/** What was deployed. */
export interface Deployed extends FunctionName {
  readonly image: string;
  readonly url: string;
  readonly done: "created" | "updated";
  /** Replicas wished for and, of them, ready; absent where the gateway does not tell. */
  readonly replicas?: number;
  readonly availableReplicas?: number;
}

type Put = Pick<Deployed, "done" | "replicas" | "availableReplicas">;

/** The replicas that the gateway's answer tells of; OpenFaaS's own answers with nothing. */
const readReplicas = async (response: Response): Promise<Omit<Put, "done">> => {
  const text = await response.text();
  if (!text.startsWith("{")) return {};
  const { replicas, availableReplicas } = JSON.parse(text) as Omit<Put, "done">;
  return replicas === undefined || availableReplicas === undefined ? {} : { replicas, availableReplicas };
};

// Update first and create when there is nothing to update, as faas-cli does: deploying twice is no error.
const put = async (gateway: GatewayClient, deployment: FunctionDeployment): Promise<Put> => {
  const what = `deploy ${deployment.service}`;
  const request = { path: "/system/functions", json: deployment };
  const update = await gateway.send({ ...request, method: "PUT" });
  if (update.ok) return { done: "updated", ...(await readReplicas(update)) };
  if (update.status !== 404) throw await gateway.failure(what, update);
  await update.body?.cancel();
  const created = await gateway.call(what, { ...request, method: "POST" });
  return { done: "created", ...(await readReplicas(created)) };
};

/** Makes a function, or makes the function of that name what is given. */
export const putFunction = async (gateway: GatewayClient, deployment: FunctionDeployment): Promise<Deployed> => {
  const { service: name, namespace, image } = deployment;
  const url = `${gateway.url}/function/${urlName({ name, namespace })}`;
  return { name, namespace, image, url, ...(await put(gateway, deployment)) };
};
