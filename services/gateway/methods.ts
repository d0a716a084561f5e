import type { ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";

const methods = new Set(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]);

/** Throws `method_not_allowed` for a method that functions do not take. */
export const assertMethod = (method: string): void => {
  if (methods.has(method)) return;
  throw new BuskerError(
    "method_not_allowed",
    `method ${method} is not taken; functions take ${[...methods].join(", ")}`,
  );
};

/** Adds the methods that functions take to the answer to one that they do not (RFC 9110 §15.5.6). */
export const allowMethods = (response: ServerResponse, error: unknown): void => {
  if (error instanceof BuskerError && error.code === "method_not_allowed")
    response.setHeader("Allow", [...methods].join(", "));
};
