import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../../schemas/names.ts";
import type { SecretReader } from "../secret-store.ts";
import { engineReason, engineStatus, isEngineAway } from "./engine-error.ts";
import type { ImageConfig } from "./image.ts";
import { createImagePulls, type PullTimes } from "./image-pulls.ts";
import { type ImageReference, parseImageReference } from "./image-reference.ts";
import { createImagePins, type Pin } from "./image-pins.ts";
import { type PullPolicy, pullPolicyOf } from "./pull-policy.ts";
import { createRegistryAuth } from "./registry-auth.ts";

/** An image that the engine has. */
export interface LocalImage {
  /** Its content id, `sha256:…`: a tag may move, this stays. */
  readonly id: string;
  readonly config: ImageConfig;
}

type Tell = (progress: string) => void;

/** An image that was looked up for a deploy. */
export interface HeldImage extends LocalImage {
  /** Ends the hold: to be called once the function is deployed, or is not. */
  readonly release: () => void;
}

/** The images that functions run from, in one engine. */
export interface Images {
  /**
   * Looks for the image of a spec and pulls it where the policy says so. Remembers what was found for the function's next
   * revision until that is forgotten, which `release` allows. Throws `invalid_request`, `registry_unavailable`,
   * `provider_unavailable` or `start_failed` with the engine's own reason.
   */
  readonly ensure: (spec: FunctionSpec, tell: Tell) => Promise<HeldImage>;
  /**
   * The image of one revision, the same for all its replicas whatever becomes of the tag: what `pin` said, or else what
   * was ensured for it, or else what is found now. One that has gone from the engine is fetched again, by its digest
   * where it has one. Throws as `ensure` does.
   */
  readonly ofRevision: (
    of: { readonly spec: FunctionSpec; readonly revision: string },
    tell: Tell,
  ) => Promise<LocalImage>;
  /** Says what replicas of a revision run from that an earlier provider started. */
  readonly pin: (revision: FunctionName & { readonly revision: string }, id: string) => void;
  /** Forgets functions that are not among these. The images stay: they are the engine's, and somebody may use them. */
  readonly collect: (inUse: readonly FunctionName[]) => void;
  /** Breaks off pulls that are under way. */
  readonly close: () => void;
}

/** What images need. */
export interface ImagesOptions {
  readonly docker: Docker;
  /** Of functions that say none. */
  readonly policy: PullPolicy;
  /** A Docker `config.json` with the credentials of registries; it need not be there. */
  readonly registryConfigFile: string;
  readonly secrets: SecretReader;
  readonly times?: PullTimes;
}

interface Found extends LocalImage {
  readonly pin: Pin;
}

/** The reference by content that an image was pulled under; undefined for one that came from no registry. */
const byDigest = (reference: ImageReference, digests: readonly string[]): string | undefined =>
  digests.find((text) => {
    const known = parseImageReference(text);
    return known.registry === reference.registry && known.repository === reference.repository;
  });

/** Opens the images of an engine. */
export const openImages = ({ docker, policy: usual, registryConfigFile, secrets, times }: ImagesOptions): Images => {
  const findCredentials = createRegistryAuth({ configFile: registryConfigFile, secrets });
  const pulls = createImagePulls(docker, times);
  const pins = createImagePins();
  const pending = new Map<string, Promise<LocalImage>>();

  /** `name`: a reference or an id. */
  const inspect = async (name: string, reference: ImageReference): Promise<Found | undefined> => {
    try {
      const { Id: id, Config: config, RepoDigests: digests } = await docker.getImage(name).inspect();
      return { id, config, pin: { id, digest: byDigest(reference, digests ?? []) } };
    } catch (error) {
      if (engineStatus(error) === 404) return undefined;
      const code = isEngineAway(error) ? "provider_unavailable" : "start_failed";
      throw new BuskerError(code, `could not look for image ${name}: ${engineReason(error)}`, { cause: error });
    }
  };

  const pull = async (spec: FunctionSpec, reference: ImageReference, tell: Tell): Promise<void> => {
    const credentials = await findCredentials(spec, reference.registry);
    await pulls.pull({ image: spec.image, reference, credentials, tell });
  };

  const pullAndFind = async (spec: FunctionSpec, reference: ImageReference, tell: Tell): Promise<Found> => {
    await pull(spec, reference, tell);
    const found = await inspect(reference.full, reference);
    if (found) return found;
    throw new BuskerError(
      "start_failed",
      `image ${spec.image} was pulled and is not there: somebody removed it meanwhile`,
    );
  };

  const find = async (spec: FunctionSpec, tell: Tell): Promise<Found> => {
    const reference = parseImageReference(spec.image);
    const policy = pullPolicyOf(spec, usual);
    const present = await inspect(reference.full, reference);
    if (policy === "Always") {
      if (!present) return pullAndFind(spec, reference, tell);
      return pullAndFind(spec, reference, tell).catch((error: unknown) => {
        throw although(error);
      });
    }
    if (present) return present;
    if (policy === "IfNotPresent") return pullAndFind(spec, reference, tell);
    throw new BuskerError(
      "invalid_request",
      `image ${spec.image} is not in the container engine, and its pull policy is Never`,
    );
  };

  /** Brings back what a revision runs from and the engine has not any more; without a digest the tag must do. */
  const restore = async (spec: FunctionSpec, { id, digest }: Pin, tell: Tell): Promise<Found> => {
    if (digest === undefined || pullPolicyOf(spec, usual) === "Never") return find(spec, tell);
    const reference = parseImageReference(digest);
    await pull(spec, reference, tell);
    return (await inspect(id, reference)) ?? find(spec, tell);
  };

  const findOfRevision = async (spec: FunctionSpec, revision: string, tell: Tell): Promise<LocalImage> => {
    const known = pins.find(spec, revision);
    const present = known && (await inspect(known.id, parseImageReference(spec.image)));
    const found = present ?? (known ? await restore(spec, known, tell) : await find(spec, tell));
    pins.pin({ ...spec, revision }, { ...found.pin, digest: found.pin.digest ?? known?.digest });
    return found;
  };

  return {
    ensure: async (spec, tell) => {
      const { id, config, pin } = await find(spec, tell);
      return { id, config, release: pins.prepare(spec, pin) };
    },
    ofRevision: ({ spec, revision }, tell) => {
      const key = `${formatFunctionName(spec)} ${revision}`;
      const present = pending.get(key);
      if (present) return present;
      const work = findOfRevision(spec, revision, tell).finally(() => pending.delete(key));
      pending.set(key, work);
      return work;
    },
    pin: (revision, id) => {
      if (!pins.has(revision)) pins.pin(revision, { id, digest: undefined });
    },
    collect: pins.collect,
    close: pulls.close,
  };
};

/** A pull that failed although the image is here: as Kubernetes has it, `Always` means that it must be the newest. */
const although = (error: unknown): unknown =>
  error instanceof BuskerError
    ? new BuskerError(error.code, `${error.message}; the image is here, but its pull policy is Always`, {
        cause: error,
      })
    : error;
