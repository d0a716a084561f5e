import { BuskerError } from "../schemas/errors.ts";
import type { RequestHead } from "../schemas/invocation.ts";
import { errorAnswerOf } from "./answer-calls.ts";
import type { Answer } from "./mode.ts";

/** What becomes of a call to one of the watchdog's own paths: an answer, or a question to the function. */
export type Probe =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "ask"; readonly path: string };

const healthy: Probe = {
  kind: "answer",
  answer: { status: 200, headers: ["Content-Type", "text/plain; charset=utf-8"], body: "OK" },
};

const ownPaths = ["/_/health", "/_/ready"];

/**
 * Answers `/_/health` and `/_/ready` as OpenFaaS's watchdogs do (contract §3.1): 200 `OK` to GET, 405 to other verbs;
 * `/_/ready` asks the function's own `ready_path` where it is set. A call that gets here has a slot, so the replica takes
 * calls; one that drains or is full is never asked. Undefined for every other path.
 */
export const answerProbe = ({ method, path }: RequestHead, readyPath: string): Probe | undefined => {
  if (!path.startsWith("/_/") || !ownPaths.includes(path)) return undefined;
  if (method !== "GET" && method !== "HEAD") {
    const error = new BuskerError("method_not_allowed", `${path} takes GET; got ${method}`);
    return { kind: "answer", answer: errorAnswerOf(error) };
  }
  return path === "/_/ready" && readyPath !== "" ? { kind: "ask", path: readyPath } : healthy;
};
