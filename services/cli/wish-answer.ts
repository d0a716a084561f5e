import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { BuskerError, isErrorCode } from "../../schemas/errors.ts";
import type { Outcome } from "../../schemas/events.ts";

/** What the gateway is told that we can read: an outcome, or lines of progress and then an outcome. */
export const wishAnswerTypes = "application/x-ndjson, application/json;q=0.9";

/** The replicas wished for and, of them, ready; absent where the gateway does not tell. */
type ToldReplicas = Partial<Pick<Outcome, "replicas" | "availableReplicas">>;

/** Called with how far a wish is, a sentence each. */
export type TellProgress = (progress: string) => void;

interface Line {
  readonly progress?: string;
  readonly outcome?: Outcome;
  readonly error?: { readonly code: string; readonly status: number; readonly message: string };
}

const replicasOf = ({ replicas, availableReplicas }: ToldReplicas): ToldReplicas =>
  replicas === undefined || availableReplicas === undefined ? {} : { replicas, availableReplicas };

const brokenOff = (what: string, cause?: unknown): BuskerError =>
  new BuskerError(
    "bus_unavailable",
    `cannot ${what}: the gateway broke off its answer; the wish is recorded and will be carried out`,
    { cause },
  );

const failure = (what: string, { code, status, message }: Required<Line>["error"]): BuskerError =>
  new BuskerError(isErrorCode(code) ? code : "internal", `cannot ${what}: ${message} (HTTP ${status})`);

const readLines = async (what: string, body: Readable, tell: TellProgress): Promise<ToldReplicas> => {
  // Of an answer that breaks off, readline says nothing.
  let cause: unknown;
  body.once("error", (error) => {
    cause = error;
  });
  for await (const text of createInterface({ input: body })) {
    const { progress, outcome, error } = JSON.parse(text) as Line;
    if (progress !== undefined) tell(progress);
    if (error) throw failure(what, error);
    if (outcome) return replicasOf(outcome);
  }
  throw brokenOff(what, cause);
};

/**
 * Reads the answer to a wish that was not refused at once. `tell` is called with its progress. Rejects with the error that
 * it ends with; `what` says what could not be done.
 */
export const readWishAnswer = async (what: string, response: Response, tell: TellProgress): Promise<ToldReplicas> => {
  if (response.body && response.headers.get("content-type")?.startsWith("application/x-ndjson"))
    return readLines(what, Readable.fromWeb(response.body as NodeReadableStream), tell);
  const text = await response.text();
  // OpenFaaS's own gateway answers with nothing.
  return text.startsWith("{") ? replicasOf(JSON.parse(text) as ToldReplicas) : {};
};
