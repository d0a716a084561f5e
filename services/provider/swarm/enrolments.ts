import { type EnrolAnswer, type EnrolRequest, enrolUse } from "../../../schemas/enrolment.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import type { ReplicaLaunch } from "../../../schemas/launch.ts";
import { type FunctionName, formatFunctionName } from "../../../schemas/names.ts";
import { enrolAnyFilter, parseFunctionSubject, providerQueueGroup } from "../../../schemas/subjects.ts";
import { answerQuestions } from "../../bus/ask.ts";
import type { Bus } from "../../bus/connection.ts";
import type { ReceivedEvent } from "../../bus/events.ts";
import { openRawPublic, sealBytes } from "../../bus/sealed-box.ts";
import type { Log } from "../../runtime/log.ts";
import type { ImageConfig } from "../container/image.ts";
import type { ReplicaStart } from "../backend.ts";
import { readTicket } from "./ticket.ts";
import type { TaskView } from "./task-view.ts";

/** What answering enrolments needs. */
export interface EnrolmentsParts {
  readonly bus: Bus;
  /** What tickets are signed with. */
  readonly ticketKey: Buffer;
  /** A task as the engine has it now; undefined when there is none, or none of this platform. */
  readonly findTask: (id: string) => Promise<TaskView | undefined>;
  /** How long a function's start is to be put off, in milliseconds. */
  readonly holdBackMs: (start: ReplicaStart) => number;
  /** A replica serves: it has enrolled with an earlier provider. */
  readonly isServing: (replica: string) => boolean;
  readonly makeLaunch: (start: ReplicaStart, image: ImageConfig) => Promise<ReplicaLaunch>;
  readonly log: Log;
}

/** Answers replicas that ask for their launch. */
export interface Enrolments {
  /** A task has ended. */
  readonly forget: (task: string) => void;
  readonly close: () => void;
}

const refuse = (why: string): never => {
  throw new BuskerError("unauthorized", why);
};

const isText = (value: unknown): value is string => typeof value === "string";

const readRequest = ({ subject, data }: ReceivedEvent<"io.busker.enrol">): EnrolRequest & FunctionName => {
  const name = parseFunctionSubject(subject, 1);
  const { task, key, ticket }: Partial<Record<string, unknown>> = { ...data };
  if (!name || !isText(task) || !isText(key) || !isText(ticket))
    throw new BuskerError("invalid_request", "an enrolment must have the texts task, key and ticket");
  if (!/^[a-z0-9]{1,64}$/.test(task)) throw new BuskerError("invalid_request", "task must be the id of a task");
  if (Buffer.from(key, "base64").length !== 32)
    throw new BuskerError("invalid_request", "key must be the 32 bytes of an X25519 key in base64");
  return { ...name, task, key, ticket };
};

/** Answers them from now on. */
export const openEnrolments = (parts: EnrolmentsParts): Enrolments => {
  const { bus, log } = parts;
  const keys = new Map<string, string>();

  /** The start that this request is about. Throws when it is about none, or about one of somebody else. */
  const check = async (request: EnrolRequest & FunctionName): Promise<{ start: ReplicaStart; image: ImageConfig }> => {
    const { spec, revision, image } = readTicket(parts.ticketKey, request.ticket);
    const key = formatFunctionName(request);
    if (formatFunctionName(spec) !== key) refuse(`the ticket is not of ${key}`);
    const task = await parts.findTask(request.task);
    if (!task || formatFunctionName(task) !== key) return refuse(`there is no task ${request.task} of ${key}`);
    if (task.exit || task.stopping) refuse(`task ${request.task} has ended, or is to end`);
    if (task.revision !== revision) refuse(`the ticket is of another revision than task ${request.task}`);
    const known = keys.get(request.task);
    if (known === undefined ? parts.isServing(task.id) : known !== request.key)
      refuse(`task ${request.task} has enrolled already, under another key`);
    return { start: { id: task.id, spec, revision }, image };
  };

  const answer = async (event: ReceivedEvent<"io.busker.enrol">): Promise<EnrolAnswer> => {
    const request = readRequest(event);
    const { start, image } = await check(request);
    const waitMs = parts.holdBackMs(start);
    if (waitMs > 0) return { waitMs };
    // Between the check and this nothing is awaited: of two keys for one task, one comes first.
    keys.set(request.task, request.key);
    const launch = Buffer.from(JSON.stringify(await parts.makeLaunch(start, image)));
    return { launch: sealBytes(openRawPublic(Buffer.from(request.key, "base64")), enrolUse(request), launch) };
  };

  const close = answerQuestions<"io.busker.enrol", EnrolAnswer>(
    bus,
    { filter: enrolAnyFilter, queue: providerQueueGroup },
    async (event) => {
      try {
        return await answer(event);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        log.warn("an enrolment was refused", { subject: event.subject, error: text });
        throw error;
      }
    },
  );
  return { close, forget: (task) => void keys.delete(task) };
};
