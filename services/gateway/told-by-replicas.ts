import type { FinishedCall, LogLine } from "../../schemas/events.ts";
import type { KeptBody } from "../../schemas/call.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { callToken, parseFunctionSubject } from "../../schemas/subjects.ts";
import { decodeRecord, type WholeRecord } from "../bus/call-record-wire.ts";
import type { LastMessage } from "../bus/last-message.ts";

/*
 * What replicas tell of their calls. A function that has its replica's credentials writes there what it likes, below its own
 * name: so nothing of it is taken on trust but that it is this function's, and what is not well formed is passed over.
 */

const isTime = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value) && Math.abs(value) <= 8.64e14;

const parseList = (data: Uint8Array, key: "calls" | "lines"): readonly unknown[] => {
  try {
    const value = JSON.parse(Buffer.from(data).toString("utf8")) as Readonly<Record<string, unknown>> | null;
    const list = value?.[key];
    return Array.isArray(list) ? list : [];
  } catch {
    // What is no JSON tells nothing.
    return [];
  }
};

const isFinished = (value: unknown): value is FinishedCall => {
  const { id, status, startedMs, durationMs } = (value ?? {}) as Partial<FinishedCall>;
  return typeof id === "string" && Number.isInteger(status) && isTime(startedMs) && isTime(durationMs);
};

/** The calls of a batch of finished ones. */
export const readFinishedCalls = ({ data }: { readonly data: Uint8Array }): readonly FinishedCall[] =>
  parseList(data, "calls").filter(isFinished);

const isLine = (value: unknown): value is LogLine => {
  const { at, text } = (value ?? {}) as Partial<LogLine>;
  return typeof at === "string" && typeof text === "string";
};

/** The lines of a log event. */
export const readLogLines = ({ data }: { readonly data: Uint8Array }): readonly LogLine[] =>
  parseList(data, "lines").filter(isLine);

/** A replica keeps bodies nowhere else: it cannot name what belongs to others. */
const ownBody = ({ place }: KeptBody, bytes: Uint8Array, said: number): KeptBody =>
  place === "here" ? { bytes: bytes.length, place } : { bytes: said, place: "none" };

const isWellFormed = ({ record }: WholeRecord): boolean =>
  isTime(record.queuedMs) &&
  (record.endedMs === undefined || isTime(record.endedMs)) &&
  Array.isArray(record.attempts) &&
  record.attempts.every(({ startedMs, endedMs }) => isTime(startedMs) && (endedMs === undefined || isTime(endedMs)));

const asOwn = ({ record, request, response }: WholeRecord, name: FunctionName): WholeRecord => ({
  record: {
    id: record.id,
    function: name,
    state: record.state === "succeeded" ? "succeeded" : "dead",
    priority: "normal",
    queuedMs: record.queuedMs,
    ...(record.endedMs === undefined ? {} : { endedMs: record.endedMs }),
    attempts: record.attempts,
    ...(record.error === undefined ? {} : { error: record.error }),
    ...(record.request === undefined
      ? {}
      : { request: { ...record.request, body: ownBody(record.request.body, request, record.request.body.bytes) } }),
    ...(record.response === undefined
      ? {}
      : {
          response: { ...record.response, body: ownBody(record.response.body, response, record.response.body.bytes) },
        }),
    isSynchronous: true,
  },
  request,
  response,
});

/** A synchronous call with its bodies, of the function below whose name it was told; undefined when it is none. */
export const readRecorded = (message: LastMessage): WholeRecord | undefined => {
  const name = parseFunctionSubject(message.subject, 1);
  try {
    const whole = decodeRecord(message);
    const isOfSubject = message.subject.endsWith(`.${callToken(whole.record.id)}`);
    return name && isOfSubject && isWellFormed(whole) ? asOwn(whole, name) : undefined;
  } catch {
    // Not a record: as if there were none.
    return undefined;
  }
};
