import { type BundleAnswer, type BundleRequest, bundlePartBytes } from "../../../schemas/enrolment.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { bundleDigest } from "../../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../../schemas/names.ts";
import { bundleAnyFilter, parseFunctionSubject, providerQueueGroup } from "../../../schemas/subjects.ts";
import { answerQuestions } from "../../bus/ask.ts";
import type { Bus } from "../../bus/connection.ts";
import type { ReceivedEvent } from "../../bus/events.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { BundleArchives } from "./bundle-archives.ts";
import { readTicket } from "./ticket.ts";

/** What answering for bundles needs. */
export interface BundleAnswersParts {
  readonly bus: Bus;
  /** What tickets are signed with. */
  readonly ticketKey: Buffer;
  readonly archives: Pick<BundleArchives, "read">;
  readonly log: Log;
}

const readRequest = ({ subject, data }: ReceivedEvent<"io.busker.bundle">): BundleRequest & FunctionName => {
  const name = parseFunctionSubject(subject, 1);
  const { ticket, offset }: Partial<Record<string, unknown>> = { ...data };
  if (!name || typeof ticket !== "string" || !Number.isSafeInteger(offset) || Number(offset) < 0)
    throw new BuskerError("invalid_request", "a request for a bundle must have the text ticket and a whole offset");
  return { ...name, ticket, offset: Number(offset) };
};

/**
 * Gives replicas their bundles from now on, a part at a time; gives a function that stops it. A ticket opens the bundle
 * that it was made for, to the function that it was made for, so that nothing is remembered between two parts.
 */
export const answerForBundles = ({ bus, ticketKey, archives, log }: BundleAnswersParts): (() => void) => {
  const answer = async (event: ReceivedEvent<"io.busker.bundle">): Promise<BundleAnswer> => {
    const request = readRequest(event);
    const { spec } = readTicket(ticketKey, request.ticket);
    const key = formatFunctionName(request);
    if (formatFunctionName(spec) !== key) throw new BuskerError("unauthorized", `the ticket is not of ${key}`);
    const digest = bundleDigest(spec.image);
    if (digest === undefined) throw new BuskerError("invalid_request", `${key} has no bundle: it is an image`);
    const { part, size } = await archives.read(digest, request.offset, bundlePartBytes);
    return { part: part.toString("base64"), size };
  };
  return answerQuestions<"io.busker.bundle", BundleAnswer>(
    bus,
    { filter: bundleAnyFilter, queue: providerQueueGroup },
    async (event) => {
      try {
        return await answer(event);
      } catch (error) {
        log.warn("a request for a bundle was refused", { subject: event.subject, error: describeError(error) });
        throw error;
      }
    },
  );
};
