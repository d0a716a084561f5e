import type Docker from "dockerode";
import type { AuthConfig } from "dockerode";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { parseFunctionName } from "../../../schemas/names.ts";
import type { ImageConfig } from "../container/image.ts";
import { parseImageReference } from "../container/image-reference.ts";
import type { Images } from "../container/images.ts";
import { functionLabel, revisionLabel } from "../container/labels.ts";
import type { RegistryAuth } from "../container/registry-auth.ts";
import { unlessMissing } from "./engine-calls.ts";
import type { ServiceFacts } from "./function-services.ts";

/** What a service runs, named so that every node runs the same. */
export interface ServiceImage {
  /** With the digest of its registry; or the id of an image of no registry, which every node must have. */
  readonly reference: string;
  readonly config: ImageConfig;
  /** What nodes fetch it with. */
  readonly auth: AuthConfig | undefined;
}

/** What finding it needs. */
export interface ServiceImageParts {
  readonly docker: Docker;
  readonly images: Pick<Images, "ofRevision">;
  readonly findCredentials: RegistryAuth;
}

/** Finds the image of a revision in this engine, and what other nodes must know of it. */
export const findServiceImage = async (
  { docker, images, findCredentials }: ServiceImageParts,
  spec: FunctionSpec,
  revision: string,
): Promise<ServiceImage> => {
  const { registry, repository } = parseImageReference(spec.image);
  const { id, config } = await images.ofRevision({ spec, revision }, () => {});
  const { RepoDigests } = await docker.getImage(id).inspect();
  const digest = (RepoDigests ?? []).find((text) => {
    const known = parseImageReference(text);
    return known.registry === registry && known.repository === repository;
  });
  // One that comes from no registry is fetched by nobody.
  const login = digest === undefined ? undefined : (await findCredentials(spec, registry)).login;
  return { reference: digest ?? id, config, auth: login as AuthConfig | undefined };
};

/**
 * Keeps a service of an earlier provider to the image that it has: its tag may have moved since, and a provider that comes
 * back is to update nothing. One that this engine has not any more is looked for by its tag.
 */
export const pinServiceImage = async (
  docker: Docker,
  images: Pick<Images, "pin">,
  { Spec }: ServiceFacts,
): Promise<void> => {
  const { [functionLabel]: key, [revisionLabel]: revision } = Spec.Labels ?? {};
  const task = Spec.TaskTemplate as { ContainerSpec?: { Image?: string } } | undefined;
  const reference = task?.ContainerSpec?.Image;
  if (key === undefined || revision === undefined || reference === undefined) return;
  const facts = await unlessMissing(docker.getImage(reference).inspect());
  if (facts) images.pin({ ...parseFunctionName(key), revision }, facts.Id);
};
