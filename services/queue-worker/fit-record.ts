import type { CallRecord } from "../../schemas/call.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";

// Its headers in the message: id, source, layout and what a stream is told.
const headerRoom = 4096;

const sizeOf = ({ record, request, response }: WholeRecord): number =>
  Buffer.byteLength(JSON.stringify(record)) + request.length + response.length + headerRoom;

const none = new Uint8Array();

const withoutRequestBody = ({ record, response }: WholeRecord): WholeRecord => ({
  record: record.request
    ? { ...record, request: { ...record.request, body: { ...record.request.body, place: "none" } } }
    : record,
  request: none,
  response,
});

const withoutResponseBody = ({ record, request }: WholeRecord): WholeRecord => ({
  record: record.response
    ? { ...record, response: { ...record.response, body: { ...record.response.body, place: "none" } } }
    : record,
  request,
  response: none,
});

const withoutHeads = (whole: WholeRecord): WholeRecord => {
  const { request, response, ...record } = whole.record;
  const bare: CallRecord = {
    ...record,
    attempts: record.attempts.slice(-1),
    ...(request === undefined ? {} : { request: { ...request, head: { ...request.head, headers: [] } } }),
    ...(response === undefined ? {} : { response: { ...response, headers: [] } }),
  };
  return { ...whole, record: bare };
};

/**
 * The record as it fits one message of so many bytes: a call must end whatever there is to say of it. What is needed least goes
 * first: of one that succeeded its request, of one that is to be run again its response, at last all headers.
 */
export const fitRecord = (whole: WholeRecord, maxBytes: number): WholeRecord => {
  const steps =
    whole.record.state === "dead"
      ? [withoutResponseBody, withoutRequestBody, withoutHeads]
      : [withoutRequestBody, withoutResponseBody, withoutHeads];
  let fitted = whole;
  for (const step of steps) {
    if (sizeOf(fitted) <= maxBytes) break;
    fitted = step(fitted);
  }
  return fitted;
};
