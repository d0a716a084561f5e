import { BuskerError } from "../../../schemas/errors.ts";

/** Whether an engine's error has this HTTP status. */
export const hasStatus = (error: unknown, status: number): boolean =>
  (error as { statusCode?: number }).statusCode === status;

/** What an engine says, without the wrapping of its HTTP client and of its own parts. */
export const engineReason = (error: unknown): string => {
  const { json, message } = error as { json?: { message?: string } | null; message?: string };
  return (json?.message ?? message ?? String(error)).replace(/^rpc error: code = \w+ desc = /, "");
};

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
  const { statusCode = 500 } = error as { statusCode?: number };
  return new BuskerError(
    statusCode >= 400 && statusCode < 500 ? "invalid_request" : "start_failed",
    `${what}: ${engineReason(error)}`,
    { cause: error },
  );
};
