import { userAnnotation } from "../../../schemas/annotations.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import type { ImageConfig } from "./image.ts";

/** Whom a function runs as that says nothing, in an image that says nothing: nobody that any image knows. */
export const defaultUser = "12000:12000";

// Ids as Linux has them; a name would have to be in the image, which then can say it by itself.
const idsPattern = /^\d{1,10}(:\d{1,10})?$/;
const largestId = 2 ** 32 - 2;

const areIds = (text: string): boolean =>
  idsPattern.test(text) && text.split(":").every((part) => Number(part) <= largestId);

/** What is wrong with the annotation of a function's user, a sentence; undefined when nothing is. */
export const userFault = (text: string): string | undefined =>
  text === "image" || areIds(text)
    ? undefined
    : `annotation ${userAnnotation} must be image, or ids such as 1000 or 1000:1000; got ${JSON.stringify(text)}`;

/**
 * Whom a container runs as, for the engine; empty leaves it to the image, which without a USER means root. Throws
 * `invalid_request` for an annotation that is wrong.
 */
export const containerUser = ({ annotations }: Pick<FunctionSpec, "annotations">, { User }: ImageConfig): string => {
  const wished = annotations?.[userAnnotation];
  if (wished === undefined) return User || defaultUser;
  const fault = userFault(wished);
  if (fault !== undefined) throw new BuskerError("invalid_request", fault);
  return wished === "image" ? (User ?? "") : wished;
};
