import { createHash } from "node:crypto";
import { findHeader } from "../../schemas/call-options.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import type { CallRecords } from "./call-records.ts";
import { type DurableCall, newCallId } from "./durable-call.ts";

/** Which call a request is, as far as its sender has said so. */
export interface GivenIds {
  /** What the id is made of, in the function it is for: `Idempotency-Key`. */
  readonly key?: string | undefined;
  /** `X-Call-Id`, or the id of a CloudEvent. */
  readonly id?: string | undefined;
}

/** The id that counts. */
export interface CallIdentity {
  readonly id: string;
  /** The id that came along with the request, where it is another call's. */
  readonly parent?: string;
  /** There is such a call of this function already. */
  readonly isKnown: boolean;
}

const maxIdLength = 128;
const maxKeyLength = 1024;

// Version 8 of RFC 9562: made in a way of our own.
const uuidOf = (text: string): string => {
  const hex = createHash("sha256").update(text).digest("hex");
  const variant = "89ab"[Number.parseInt(hex.slice(16, 17), 16) % 4];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

// NUL stands in none of the parts.
const derive = (kind: "key" | "chain" | "replay", of: FunctionName, text: string): string =>
  uuidOf([kind, formatFunctionName(of), text].join("\0"));

/** The id of a function's call that is known by an idempotency key. */
export const keyedCallId = (of: FunctionName, key: string): string => derive("key", of, key);

/** The id of a function's call whose own id another function's call has already: ids travel along chains. */
export const chainedCallId = (of: FunctionName, id: string): string => derive("chain", of, id);

/**
 * The id of the call that replays a dead letter (by its number in the stream) on a function: always the same, so that whoever
 * replays it twice makes one call.
 */
export const replayedCallId = (id: string, seq: number, on: FunctionName): string =>
  derive("replay", on, `${seq}\0${id}`);

const withCallId = (headers: readonly string[], id: string): readonly string[] =>
  headers.map((text, at) => (at % 2 === 1 && headers[at - 1]?.toLowerCase() === "x-call-id" ? id : text));

/** The same call under the id that counts, which its function sees as `X-Call-Id`. */
export const withIdentity = (call: DurableCall, { id, parent }: Pick<CallIdentity, "id" | "parent">): DurableCall =>
  id === call.id
    ? call
    : {
        ...call,
        id,
        ...(parent === undefined ? {} : { parent }),
        head: { ...call.head, headers: withCallId(call.head.headers, id) },
      };

/**
 * The call that is to be in the place of one whose id turned out to be another function's: two functions were called under
 * one id at the same time, and the other one has the record. Whoever finds that out accepts this one instead; that several
 * do is one repeat more.
 */
export const inOwnName = (call: DurableCall): DurableCall =>
  withIdentity(call, { id: chainedCallId(call.function, call.id), parent: call.id });

/** Reads them in headers, names and values in turn. Throws `invalid_request` when one is too long. */
export const readGivenIds = (headers: readonly string[]): GivenIds => {
  const read = (header: string, maxLength: number): string | undefined => {
    const text = findHeader(headers, header) || undefined;
    if (text === undefined || text.length <= maxLength) return text;
    throw new BuskerError("invalid_request", `${header} must have ${maxLength} characters at most; got ${text.length}`);
  };
  return { key: read("Idempotency-Key", maxKeyLength), id: read("X-Call-Id", maxIdLength) };
};

/**
 * Finds which call is meant: the one of the key where there is a key, else of the given id where no other function has it,
 * else a new one. Rejects with `bus_unavailable` when the records cannot be read.
 */
export const identifyCall = async (
  records: Pick<CallRecords, "read">,
  of: FunctionName,
  { key, id }: GivenIds,
): Promise<CallIdentity> => {
  const wanted = key === undefined ? id : keyedCallId(of, key);
  if (wanted === undefined) return { id: newCallId(), isKnown: false };
  const parent = key === undefined ? undefined : id;
  const found = await records.read(wanted);
  if (!found || formatFunctionName(found.record.function) === formatFunctionName(of))
    return { id: wanted, ...(parent === undefined ? {} : { parent }), isKnown: found !== undefined };
  const chained = chainedCallId(of, wanted);
  return { id: chained, parent: wanted, isKnown: (await records.read(chained)) !== undefined };
};
