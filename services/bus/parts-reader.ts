import { type CallRecord, isFinal } from "../../schemas/call.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type ResponseHead, wireHeaders } from "../../schemas/invocation.ts";
import { partsSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { IncomingBody } from "./body-receiver.ts";
import type { CallRecords } from "./call-records.ts";
import type { Bus } from "./connection.ts";
import { decodeFrame } from "./frames.ts";
import { headerValue } from "./headers.ts";
import { decodeReply } from "./invocation-wire.ts";
import { type KeptListener, openKeptView } from "./kept-view.ts";
import { createMessageFinder } from "./stored-message.ts";
import type { StreamView } from "./stream-view.ts";
import { createWriterWatch } from "./writer-watch.ts";

/** A response that is kept in parts, from its beginning. */
export interface OpenedParts {
  readonly head: ResponseHead;
  /** What is there and what comes; without size. It fails when it has no end, when a part is gone and when nobody writes it any more. */
  readonly rest: IncomingBody;
  /** Nobody reads it any more. */
  readonly stop: () => void;
}

/** Reads responses that are kept in parts, also while they are written. */
export interface PartsReader {
  /**
   * Opens the response that a record names. Rejects with `stream_gone` when its beginning is not kept any more, and with
   * `call_not_found` when the record names none.
   */
  readonly open: (record: CallRecord) => Promise<OpenedParts>;
  /** Responses that are being read here. */
  readonly count: () => number;
  readonly close: () => void;
}

/** Bytes that a reader may be behind with before no more are asked for. */
const behindBytes = 512 * 1024;

/** The number of the attempt whose response a record has in parts; undefined when it has none. */
export const attemptInParts = ({ response }: CallRecord): number | undefined =>
  response?.body.place === "parts" ? Number(response.body.name) : undefined;

const writerOf = (headers: string): string | undefined => headerValue(headers, wireHeaders.writer);

const decodeHead = (
  headers: string,
): { readonly head: ResponseHead; readonly writer: string | undefined } | undefined =>
  decodeFrame(headers)?.kind === "head" ? { head: decodeReply(headers).head, writer: writerOf(headers) } : undefined;

/** A view as a body: it is held while its reader is behind. */
const asBody = (open: (listener: KeptListener) => StreamView): IncomingBody & { readonly stop: () => void } => {
  let behind = 0;
  let isStopped = false;
  let view: StreamView | undefined;
  return {
    listen: (listener) => {
      if (isStopped) return;
      view = open({
        onEvent: (data) => {
          behind += data.length;
          listener.onData(data);
          return behind < behindBytes;
        },
        onEnd: () => listener.onEnd(),
        onError: (error) => listener.onError(error),
      });
    },
    consumed: (bytes) => {
      behind -= bytes;
      if (behind < behindBytes / 2) view?.resume();
    },
    stop: () => {
      isStopped = true;
      view?.stop();
    },
  };
};

/** Opens a reader on a connection; what is being read ends with it. */
export const openPartsReader = (bus: Bus, records: Pick<CallRecords, "read">): PartsReader => {
  const finder = createMessageFinder(bus, streams.PARTS);
  const watch = createWriterWatch(records);
  const views = new Set<StreamView>();
  const find = async (id: string, attempt: number) => {
    const found = await finder.get({ seq: 1, next_by_subj: partsSubject(id, attempt) }, decodeHead);
    if (found?.value) return { ...found.value, seq: found.seq };
    throw new BuskerError("stream_gone", `the response of call ${id} is not kept any more, or not its beginning`);
  };
  return {
    open: async (record) => {
      const attempt = attemptInParts(record);
      if (attempt === undefined)
        throw new BuskerError("call_not_found", `call ${record.id} has no response that is kept in parts`);
      const { head, writer, seq } = await find(record.id, attempt);
      const body = asBody((listener) => {
        let unwatch = (): void => {};
        const view: StreamView = openKeptView({
          bus,
          manager: finder.manager,
          stream: streams.PARTS.name,
          subject: partsSubject(record.id, attempt),
          startSeq: seq + 1,
          next: 1,
          isOwn: (headers) => writerOf(headers) === writer,
          listener,
          onOver: () => {
            unwatch();
            views.delete(view);
          },
        });
        views.add(view);
        if (isFinal(record.state)) view.lose(noEnd(record.id));
        else unwatch = watch.add({ id: record.id, attempt }, () => view.lose(noEnd(record.id)));
        return view;
      });
      return { head, rest: body, stop: body.stop };
    },
    count: () => views.size,
    close: () => {
      for (const view of views) view.stop();
    },
  };
};

const noEnd = (id: string): BuskerError =>
  new BuskerError("stream_gone", `the response of call ${id} has no end: who wrote it is gone, or parts of it are`);
