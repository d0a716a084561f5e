import type { ServerResponse } from "node:http";
import { BuskerError } from "../../schemas/errors.ts";
import { servedBy } from "./version.ts";

/** Anything thrown, as an error of the catalogue. */
export const toBuskerError = (error: unknown): BuskerError =>
  error instanceof BuskerError
    ? error
    : new BuskerError("internal", error instanceof Error ? error.message : String(error), { cause: error });

/** Headers of every error the platform and not a function made (contract trap 15). */
export const errorHeaders = (error: BuskerError): Record<string, string> => ({
  "Content-Type": "text/plain; charset=utf-8",
  "X-Served-By": servedBy,
  "X-OpenFaaS-Internal": "gateway",
  "X-Busker-Error": error.code,
  ...(error.code === "unauthorized" ? { "WWW-Authenticate": 'Basic realm="Restricted"' } : {}),
  ...(error.status === 429 || error.status === 503 ? { "Retry-After": "1" } : {}),
});

/** Answers with an error's status and message and gives the status. A body still being sent is not waited for. */
export const sendError = (response: ServerResponse, thrown: unknown, callId?: string, startNs?: string): number => {
  const error = toBuskerError(thrown);
  const call = callId === undefined ? {} : { "X-Call-Id": callId };
  const start = startNs === undefined ? {} : { "X-Start-Time": startNs };
  const close = response.req.complete ? {} : { Connection: "close" };
  response.writeHead(error.status, { ...errorHeaders(error), ...call, ...start, ...close });
  response.end(`${error.message}\n`);
  return error.status;
};
