import { BuskerError } from "../../../schemas/errors.ts";
import { engineReason, engineStatus } from "../container/engine-error.ts";

/** Whether an engine's error has this HTTP status. */
export const hasStatus = (error: unknown, status: number): boolean => engineStatus(error) === status;

/** What a manager says, without what its own parts put around it. */
export const swarmReason = (error: unknown): string =>
  engineReason(error).replace(/^rpc error: code = \w+ desc = /, "");

/** Gives undefined for what is not there. */
export const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
};

/** A refusal of the engine as the catalogue has it: a 4xx is about what was asked. */
export const engineFault = (what: string, error: unknown): BuskerError => {
  if (error instanceof BuskerError) return error;
  const statusCode = engineStatus(error) ?? 500;
  return new BuskerError(
    statusCode >= 400 && statusCode < 500 ? "invalid_request" : "start_failed",
    `${what}: ${swarmReason(error)}`,
    { cause: error },
  );
};
