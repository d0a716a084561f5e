import { checkName, defaultNamespace } from "../../schemas/names.ts";
import { buildDeployment } from "./build-deployment.ts";
import type { FunctionSettings } from "./function-file.ts";
import type { GatewayClient } from "./gateway-client.ts";
import { asUsage } from "./options.ts";
import { type Deployed, putFunction } from "./put-function.ts";
import type { TellProgress } from "./wish-answer.ts";

/** An image that is to be a function. */
export interface ImageRequest {
  readonly image: string;
  /** Default: the last part of the image's name. */
  readonly name?: string;
  readonly settings: FunctionSettings;
}

const nameOf = ({ image, name }: ImageRequest): string => {
  if (name !== undefined) return asUsage(() => checkName("--name", name));
  const own = image.replace(/@.*$/, "").replace(/^.*\//, "").replace(/:.*$/, "");
  return asUsage(() => checkName("the image's name (give another with --name)", own));
};

/** Makes an image a function, or the new code of the function of that name; it runs its own command unless told another. */
export const deployImage = async (
  gateway: GatewayClient,
  request: ImageRequest,
  tell?: TellProgress,
): Promise<Deployed> => {
  const { image, settings } = request;
  const namespace = asUsage(() => checkName("namespace", settings.namespace ?? defaultNamespace));
  const deployment = buildDeployment({ name: nameOf(request), namespace, image, file: {}, flags: settings });
  return putFunction(gateway, deployment, tell);
};
