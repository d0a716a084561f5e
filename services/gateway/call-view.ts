import { type Attempt, type CallRecord, isFinal, type KeptBody } from "../../schemas/call.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";

/** RFC 3339 under a key, where there is a time. */
const timeAt = <K extends string>(key: K, ms: number | undefined): Partial<Record<K, string>> =>
  ms === undefined ? {} : ({ [key]: new Date(ms).toISOString() } as Record<K, string>);

const given = <K extends string, T>(key: K, value: T | undefined): Partial<Record<K, T>> =>
  value === undefined ? {} : ({ [key]: value } as Record<K, T>);

/** Headers by name as they were sent; those sent more than once as a list. */
const viewHeaders = (headers: readonly string[]): Record<string, string | string[]> => {
  const view = new Map<string, { readonly name: string; readonly values: string[] }>();
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? "";
    const value = headers[at + 1] ?? "";
    const known = view.get(name.toLowerCase());
    if (known) known.values.push(value);
    else view.set(name.toLowerCase(), { name, values: [value] });
  }
  return Object.fromEntries(
    [...view.values()].map(({ name, values: [first = "", ...more] }) => [
      name,
      more.length === 0 ? first : [first, ...more],
    ]),
  );
};

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text where they are text. */
const viewBytes = (bytes: Uint8Array): { readonly body: string } | { readonly bodyBase64: string } => {
  try {
    return { body: utf8.decode(bytes) };
  } catch {
    return { bodyBase64: Buffer.from(bytes).toString("base64") };
  }
};

/** A kept body: its size, and itself where the record holds it. */
const viewBody = (kept: KeptBody, bytes: Uint8Array): Record<string, unknown> => ({
  bytes: kept.bytes,
  ...(kept.place === "here" ? viewBytes(bytes) : {}),
});

const viewAttempt = ({ number, startedMs, endedMs, status, error, isFree }: Attempt): Record<string, unknown> => ({
  number,
  ...timeAt("startedAt", startedMs),
  ...given("durationSeconds", endedMs === undefined ? undefined : Math.max(0, endedMs - startedMs) / 1000),
  ...given("status", status),
  ...given("error", error),
  ...(isFree ? { countsAgainstLimit: false } : {}),
});

// Half a surrogate pair becomes something, which it would not by itself.
const encodeId = (id: string): string => encodeURIComponent(Buffer.from(id).toString());

/** A call id as an HTTP header can hold it: those that came as events may be any text, and are URL-encoded where they must. */
export const callIdHeader = (id: string): string => (/^[\x20-\x7e\x80-\xff]*$/.test(id) ? id : encodeId(id));

const responsePath = (id: string): string => `/async-function/${encodeId(id)}/response`;

const viewState = (record: CallRecord): Record<string, unknown> => ({
  id: record.id,
  function: formatFunctionName(record.function),
  state: record.state,
  priority: record.priority,
  ...timeAt("queuedAt", record.queuedMs),
  ...timeAt("runAt", record.runAtMs),
  ...timeAt("startedAt", record.attempts[0]?.startedMs),
  ...timeAt("nextAttemptAt", isFinal(record.state) ? undefined : record.nextMs),
  ...timeAt("endedAt", record.endedMs),
  ...timeAt("expiresAt", record.expiresMs),
  attempts: record.attempts.map(viewAttempt),
  ...given("error", record.error),
  ...given("parent", record.parent),
  ...given("replayOf", record.replayOf),
  ...(record.isSynchronous ? { synchronous: true } : {}),
});

/**
 * A call for who knows its id: its state, attempts and, when there is one, the response; its body as `body` where it is
 * UTF-8, else as `bodyBase64`, both only when it is kept in the record. What the caller sent is not in it: whoever is given
 * an id to look after a call need not see the credentials in its request.
 */
export const viewCall = ({ record, response: bytes }: WholeRecord): Record<string, unknown> => {
  const { response } = record;
  return {
    ...viewState(record),
    ...given(
      "response",
      response && {
        status: response.status,
        headers: viewHeaders(response.headers),
        ...viewBody(response.body, bytes),
        url: responsePath(record.id),
      },
    ),
  };
};

/** A call for the platform's administrator: as `viewCall`, with the request, its body included, and whom it is told to. */
export const viewWholeCall = (whole: WholeRecord): Record<string, unknown> => {
  const { request, callbackUrl, traceparent, tracestate } = whole.record;
  return {
    ...viewCall(whole),
    ...given("callbackUrl", callbackUrl),
    ...given("traceparent", traceparent),
    ...given("tracestate", tracestate),
    ...given(
      "request",
      request && {
        method: request.head.method,
        path: request.head.path,
        headers: viewHeaders(request.head.headers),
        ...given("contentType", request.contentType),
        ...viewBody(request.body, whole.request),
      },
    ),
  };
};
