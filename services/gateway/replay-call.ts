import { randomUUID } from "node:crypto";
import { isFinal } from "../../schemas/call.ts";
import { recordAnnotation } from "../../schemas/annotations.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { withIdentity } from "../bus/call-ids.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import type { DurableCall } from "../bus/durable-call.ts";
import { describeFound, type FoundCall } from "./find-call.ts";

/** How a call is run again. */
export interface ReplayOptions {
  /** Absent: its own function. */
  readonly to?: FunctionName | undefined;
  /** The id of the new call; absent: a new one. */
  readonly id?: string;
  /** Whom the first call was to tell is told of this one, too. */
  readonly keepsCallback: boolean;
}

const notAgain = (id: string, why: string): BuskerError =>
  new BuskerError("call_not_found", `call ${id} cannot be run again: ${why}`);

/** The error of a call whose request body is not kept any more. */
export const goneBody = (id: string, bytes: number): BuskerError =>
  notAgain(id, `the ${bytes} bytes of its request body are gone`);

/** The call that runs a past one again. Throws `call_not_found` (404) where its request is not kept any more. */
export const buildReplay = (
  { record, request: body }: WholeRecord,
  { to, id = randomUUID(), keepsCallback }: ReplayOptions,
): DurableCall => {
  const { request } = record;
  if (!request) throw notAgain(record.id, "its record holds no request");
  const { place, bytes } = request.body;
  if (place === "none")
    throw record.isSynchronous
      ? notAgain(record.id, `the ${bytes} bytes of its request body were too many to be recorded`)
      : goneBody(record.id, bytes);
  const call: DurableCall = {
    id: record.id,
    function: to ?? record.function,
    priority: record.priority,
    queuedMs: Date.now(),
    head: request.head,
    contentType: request.contentType,
    body,
    replayOf: record.id,
    ...(place === "payload" ? { payload: request.body } : {}),
    ...(keepsCallback && record.callbackUrl !== undefined ? { callbackUrl: record.callbackUrl } : {}),
  };
  return withIdentity(call, { id });
};

/**
 * The call that was found, if it can be run again. Throws `call_not_found` (404) with what is missing, and `conflict` (409)
 * while it is not over.
 */
export const replayableOf = (found: FoundCall, id: string): WholeRecord => {
  if (found.kind === "finished")
    throw new BuskerError(
      "call_not_found",
      `${describeFound(found, id)} cannot be run again: its request was not recorded. Functions with the annotation ` +
        `${recordAnnotation}: bodies record theirs`,
    );
  const { record } = found.whole;
  if (!isFinal(record.state))
    throw new BuskerError(
      "conflict",
      `${describeFound(found, id)} is ${record.state}: it can be run again when it is over`,
    );
  if (record.untold)
    throw new BuskerError(
      "conflict",
      `${id} is an outcome that could not be told and no call: replay it as a dead letter, or call ${record.untold.call.id}`,
    );
  return found.whole;
};

/** The error of an id of which nothing is known. */
export const unknownCall = (id: string): BuskerError =>
  new BuskerError(
    "call_not_found",
    `nothing is known of call ${id} (any more): records of durable calls go some time after their end ` +
      `(annotation com.busker.result.ttl), those of synchronous ones after two days`,
  );

/** The error of a replay whose function does not exist. */
export const noSuchFunction = (name: FunctionName): BuskerError =>
  new BuskerError("function_not_found", `there is no function ${formatFunctionName(name)}`);
