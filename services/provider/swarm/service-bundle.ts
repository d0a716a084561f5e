import { BuskerError } from "../../../schemas/errors.ts";
import { bundleDigest, type FunctionSpec } from "../../../schemas/function.ts";
import { parseMemoryBytes } from "../../../schemas/quantity.ts";
import type { BundleSize } from "../../runtime/unpack-bundle.ts";
import { bundleFolder, toRunSpec } from "../container/run-spec.ts";

/*
 * A bundle on a swarm: each replica fetches it from the provider into a file system in memory, in a base image that its
 * machine can fetch.
 */

// A file takes whole pages, and each entry some of the kernel's memory besides.
const entryBytes = 4096;
const spareBytes = 1024 * 1024;

/** How large a file system in memory must be for a bundle, in bytes. */
export const roomForBundle = ({ bytes, entries }: BundleSize): number =>
  Math.ceil((bytes + entries * entryBytes + spareBytes) / entryBytes) * entryBytes;

/** Throws `invalid_request` when a replica's memory is not enough for its bundle, let alone for running it. */
export const checkBundleFits = ({ limits = {} }: FunctionSpec, size: BundleSize): void => {
  const limitBytes = limits.memory === undefined ? undefined : parseMemoryBytes(limits.memory);
  if (limitBytes === undefined || size.bytes < limitBytes) return;
  throw new BuskerError(
    "invalid_request",
    `limits.memory ${limits.memory} is too little for the bundle, which is ${size.bytes} bytes unpacked: on a swarm a replica holds it in memory`,
  );
};

/** A spec with the image that its service runs: for a bundle the one that is named for it. Throws `unsupported` without. */
export const toServiceSpec = (spec: FunctionSpec, baseImage: string | undefined): Promise<FunctionSpec> =>
  toRunSpec(spec, {
    configured: baseImage,
    own: async () => {
      throw new BuskerError(
        "unsupported",
        "on a swarm a folder needs a base image that every machine can fetch, such as node:20-slim: set BUSKER_BASE_IMAGE for the provider, or the annotation com.busker.base-image of the function",
      );
    },
  });

/** What a launch tells of the bundle; nothing for an image. */
export const launchBundle = ({ image }: FunctionSpec) => {
  const digest = bundleDigest(image);
  return digest === undefined ? {} : { bundle: { digest, folder: bundleFolder } };
};
