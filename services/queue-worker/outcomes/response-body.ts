import type { CallRecord } from "../../../schemas/call.ts";
import { BuskerError, errorCatalogue, isErrorCode } from "../../../schemas/errors.ts";
import type { ResponseHead } from "../../../schemas/invocation.ts";
import type { WholeRecord } from "../../bus/call-record-wire.ts";

/** A body that can be read more than once. */
export interface ResponseBody {
  readonly bytes: number;
  /** Rejects, at once or while it is read, when it is not there any more. */
  readonly open: () => AsyncIterable<Uint8Array>;
}

/** What a receiver is told: the function's response, or what the platform says in its stead. */
export interface ToldResponse {
  readonly head: ResponseHead;
  readonly body: ResponseBody;
}

/** Reads bodies that are not in the record's own message. */
export interface BodyReader {
  readonly payload: (name: string) => AsyncIterable<Uint8Array>;
  readonly parts: (record: CallRecord) => AsyncIterable<Uint8Array>;
}

const wholeBody = (data: Uint8Array): ResponseBody => ({
  bytes: data.length,
  open: async function* () {
    if (data.length > 0) yield data;
  },
});

/** What is told of a call without a response: the error's status, its message as text, its code in `X-Busker-Error`. */
const platformResponse = ({ record }: WholeRecord): ToldResponse => {
  const { code = "internal", message = "" } = record.error ?? {};
  const { status } = isErrorCode(code) ? errorCatalogue[code] : errorCatalogue.internal;
  const headers = ["Content-Type", "text/plain; charset=utf-8", "X-Busker-Error", code];
  return { head: { status, headers }, body: wholeBody(Buffer.from(message)) };
};

const gone = (id: string): BuskerError =>
  new BuskerError("stream_gone", `the response of call ${id} is not kept any more`);

/** What there is to tell about a call. Throws `stream_gone` when there was a response and it is gone. */
export const toldResponse = (whole: WholeRecord, reader: BodyReader): ToldResponse => {
  const { id, response } = whole.record;
  if (!response) return platformResponse(whole);
  const { body, status, headers } = response;
  const { bytes, name = "" } = body;
  switch (body.place) {
    case "here":
      return { head: { status, headers }, body: wholeBody(whole.response) };
    case "payload":
      return { head: { status, headers }, body: { bytes, open: () => reader.payload(name) } };
    case "parts":
      return { head: { status, headers }, body: { bytes, open: () => reader.parts(whole.record) } };
    case "none":
      if (bytes === 0) return { head: { status, headers }, body: wholeBody(new Uint8Array()) };
      throw gone(id);
  }
};
