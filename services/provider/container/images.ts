import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { engineReason, engineStatus } from "./engine-error.ts";
import type { ImageConfig } from "./image.ts";

/** An image that the engine has. */
export interface HeldImage {
  /** Its content's id: a tag may move. */
  readonly id: string;
  readonly config: ImageConfig;
  readonly release: () => void;
}

/** The images of functions. */
export interface Images {
  /** Sees to it that the engine has a function's image. Throws `invalid_request` with the engine's reason when it cannot. */
  readonly ensure: (spec: FunctionSpec, tell: (progress: string) => void) => Promise<HeldImage>;
}

/** Opens the images that the engine has. */
export const openImages = ({ docker }: { readonly docker: Docker }): Images => ({
  ensure: async ({ image }) => {
    try {
      const { Id, Config } = await docker.getImage(image).inspect();
      return { id: Id, config: Config, release: () => {} };
    } catch (cause) {
      const code = engineStatus(cause) === 404 ? "invalid_request" : "start_failed";
      throw new BuskerError(code, `could not get the image ${image}: ${engineReason(cause)}`);
    }
  },
});
