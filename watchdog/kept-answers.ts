import { randomBytes } from "node:crypto";
import type { ResponseHead } from "../schemas/invocation.ts";
import { keptHeadSubject, keptPartsSubject } from "../schemas/subjects.ts";
import { streams } from "../schemas/topology.ts";
import type { Bus } from "../services/bus/connection.ts";
import { encodeKeptHead } from "../services/bus/kept-answer.ts";
import { KeptSink, type KeptSinkParts } from "./kept-sink.ts";
import type { Answer } from "./mode.ts";

/** An answer whose events are kept. */
export interface KeptAnswer {
  /** The id under which it is kept. */
  readonly id: string;
  /** Where its body goes. */
  readonly sink: KeptSink;
}

/** What is told of an answer that is to be kept. */
export interface KeptParts extends Pick<KeptSinkParts, "onFault" | "toldOf" | "onLast"> {
  readonly callId: string;
  readonly head: ResponseHead;
  readonly deadlineMs: number;
}

/** Keeps answers of one replica. */
export interface KeptAnswers {
  readonly open: (parts: KeptParts) => KeptAnswer;
}

const valueOf = (headers: readonly string[], name: string): string | undefined => {
  const at = headers.findIndex((header, index) => index % 2 === 0 && header.toLowerCase() === name);
  return at < 0 ? undefined : headers[at + 1];
};

/** Whether an answer is a stream of events that can be told apart here. */
export const isEventStream = ({ status, headers, error }: Answer): boolean =>
  status === 200 &&
  error === undefined &&
  /^text\/event-stream\s*(;|$)/i.test(valueOf(headers, "content-type")?.trim() ?? "") &&
  /^(identity)?$/i.test(valueOf(headers, "content-encoding")?.trim() ?? "");

/** The head of an answer that takes longer than anything is kept is written anew in time. */
export const headEveryMs = streams.STREAMS.maxAgeMs / 3;

/** Creates it for one replica; nothing is published before an answer is opened. */
export const createKeptAnswers = (
  bus: Bus,
  { namespace, name, replica }: { readonly namespace: string; readonly name: string; readonly replica: string },
): KeptAnswers => ({
  open: (parts) => {
    // Whoever knows it may read, if the function may be called.
    const id = randomBytes(16).toString("hex");
    const { callId, head, deadlineMs, onFault, toldOf } = parts;
    const headers = encodeKeptHead({ callId, head, deadlineMs, replica });
    const tellHead = (): void => bus.nc.publish(keptHeadSubject(namespace, name, id), "", { headers });
    tellHead();
    const timer = setInterval(tellHead, headEveryMs).unref();
    const onLast: KeptParts["onLast"] = (error) => {
      clearInterval(timer);
      parts.onLast(error);
    };
    const subject = keptPartsSubject(namespace, name, id);
    return { id, sink: new KeptSink({ bus, id, subject, onFault, toldOf, onLast }) };
  },
});
