import type { FunctionName } from "../../schemas/names.ts";
import type { FunctionDeployment } from "./build-deployment.ts";
import type { GatewayClient } from "./gateway-client.ts";
import { urlName } from "./options.ts";
import { readWishAnswer, type TellProgress, wishAnswerTypes } from "./wish-answer.ts";

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

// Update first and create when there is nothing to update, as faas-cli does: deploying twice is no error.
const put = async (gateway: GatewayClient, deployment: FunctionDeployment, tell: TellProgress): Promise<Put> => {
  const what = `deploy ${deployment.service}`;
  const request = { path: "/system/functions", json: deployment, accept: wishAnswerTypes };
  const update = await gateway.send({ ...request, method: "PUT" });
  if (update.ok) return { done: "updated", ...(await readWishAnswer(what, update, tell)) };
  if (update.status !== 404) throw await gateway.failure(what, update);
  await update.body?.cancel();
  const created = await gateway.call(what, { ...request, method: "POST" });
  return { done: "created", ...(await readWishAnswer(what, created, tell)) };
};

/** Makes a function, or makes the function of that name what is given; `tell` is called with how far it is, where that takes a while. */
export const putFunction = async (
  gateway: GatewayClient,
  deployment: FunctionDeployment,
  tell: TellProgress = () => {},
): Promise<Deployed> => {
  const { service: name, namespace, image } = deployment;
  const url = `${gateway.url}/function/${urlName({ name, namespace })}`;
  return { name, namespace, image, url, ...(await put(gateway, deployment, tell)) };
};
