import type { CallRecord, KeptBody } from "../../schemas/call.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { partsSubject } from "../../schemas/subjects.ts";
import { headerValue } from "./headers.ts";

const nameOf = (id: string, { place, name }: KeptBody): string | undefined =>
  place === "parts" ? partsSubject(id, Number(name)) : place === "payload" ? name : undefined;

/** What a record has outside its message: the subject of the parts of its response, the names of objects. */
const namesOf = ({ id, request, response }: CallRecord): readonly string[] =>
  [request, response].flatMap((message) => (message && nameOf(id, message.body)) ?? []);

/** Header lines that tell a sweep all it must know of a record. */
export const storageLines = (record: CallRecord): string => {
  const names = namesOf(record);
  return (
    (record.expiresMs === undefined ? "" : `${wireHeaders.expires}: ${record.expiresMs}\r\n`) +
    (names.length === 0 ? "" : `${wireHeaders.elsewhere}: ${names.join(" ")}\r\n`)
  );
};

/** When a record may go, by its headers; undefined when it is not over. */
export const readExpiry = (headers: string): number | undefined => {
  const text = headerValue(headers, wireHeaders.expires);
  return text === undefined ? undefined : Number(text);
};

/** What a message needs outside itself, by its headers: of a record, an outcome, a dead letter or a queued call. */
export const readElsewhere = (headers: string): readonly string[] => {
  const names = headerValue(headers, wireHeaders.elsewhere);
  if (names !== undefined) return names.split(" ");
  const facts = headerValue(headers, wireHeaders.durable);
  if (!facts?.includes('"payload"')) return [];
  const { payload } = JSON.parse(facts) as { readonly payload?: KeptBody };
  return payload?.name === undefined ? [] : [payload.name];
};
