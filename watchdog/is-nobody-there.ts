import { BuskerError } from "../schemas/errors.ts";

/** Whether nothing is wrong with a question but that nobody has answered it yet. */
export const isNobodyThere = (error: unknown): boolean =>
  error instanceof BuskerError && (error.code === "provider_unavailable" || error.code === "bus_unavailable");
