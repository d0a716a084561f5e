import type { ServerResponse } from "node:http";
import { type CallRecord, isFinal } from "../../schemas/call.ts";
import type { ResponseHead } from "../../schemas/invocation.ts";
import type { OpenedParts } from "../bus/parts-reader.ts";
import { callIdHeader } from "./call-view.ts";
import { onceGone } from "./once-gone.ts";
import { responseHeaders } from "./send-result.ts";
import { sendStream } from "./send-stream.ts";

/** Tells a function's own 202 from one that says "not yet". */
export const stateHeader = "X-Busker-Call-State";

/** When the attempt that was answered began, in nanoseconds since the epoch. */
export const startNsOf = (record: CallRecord): string =>
  `${record.attempts.at(-1)?.startedMs ?? record.queuedMs}000000`;

const nothing = new Uint8Array();

/** The head as it is sent: of a response that is complete, with its length as it was counted. */
const headOf = ({ state, response }: CallRecord, { status, headers }: ResponseHead): ResponseHead => {
  const sent: string[] = [stateHeader, state];
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? "";
    if (!isFinal(state) || name.toLowerCase() !== "content-length") sent.push(name, headers[at + 1] ?? "");
  }
  if (isFinal(state)) sent.push("Content-Length", String(response?.body.bytes ?? 0));
  return { status, headers: sent };
};

/**
 * Answers with a response that is kept in parts: what is there and what comes, at the client's own pace. One that breaks off, or
 * that nobody writes any more, breaks the client's connection, so that it never looks complete.
 */
export const sendParts = (response: ServerResponse, record: CallRecord, opened: OpenedParts): void => {
  const head = headOf(record, opened.head);
  const reply = { head, error: undefined, inFlight: 0, slots: 0, offer: false };
  const call = { callId: callIdHeader(record.id), contentType: undefined };
  const startNs = startNsOf(record);
  if (response.req.method === "HEAD" || head.status === 204 || head.status === 304) {
    opened.stop();
    response.writeHead(head.status, responseHeaders({ call, startNs, reply, keepsLength: true, hasBody: false })).end();
    return;
  }
  if (response.destroyed) return;
  onceGone(response, opened.stop);
  const result = { kind: "streaming", reply, body: nothing, rest: opened.rest } as const;
  sendStream({ response, call, startNs, result, cancel: opened.stop, end: () => {} });
};
