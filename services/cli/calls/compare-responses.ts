import { createHash } from "node:crypto";
import type { ShownHeaders } from "./call-shapes.ts";

/** An answer of a function, to be held against another one. */
export interface ComparedResponse {
  /** How the call ended. */
  readonly state: string;
  /** Absent where the function did not answer. */
  readonly status?: number | undefined;
  readonly headers: ShownHeaders;
  /** Absent where it is not kept. */
  readonly body?: Buffer | undefined;
}

// They differ from call to call, whatever the function does.
const ofTheCall = new Set(["date", "x-call-id", "x-start-time", "x-duration-seconds", "x-served-by", "content-length"]);
// Of each of the two, of lines that differ.
const maxLines = 20;

const headerTexts = (headers: ShownHeaders): ReadonlyMap<string, string> =>
  new Map(
    Object.entries(headers)
      .map(([name, value]) => [name.toLowerCase(), typeof value === "string" ? value : value.join(", ")] as const)
      .filter(([name]) => !ofTheCall.has(name)),
  );

const compareHeaders = (a: ShownHeaders, b: ShownHeaders): string[] => {
  const [before, after] = [headerTexts(a), headerTexts(b)];
  return [...new Set([...before.keys(), ...after.keys()])].toSorted().flatMap((name) => {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === is) return [];
    return [...(was === undefined ? [] : [`- ${name}: ${was}`]), ...(is === undefined ? [] : [`+ ${name}: ${is}`])];
  });
};

const asText = (body: Buffer): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return undefined;
  }
};

const shorten = (lines: readonly string[]): readonly string[] =>
  lines.length <= maxLines ? lines : [...lines.slice(0, maxLines), `… ${lines.length - maxLines} more lines`];

/** The lines that differ, without those at the beginning and the end that do not. */
const compareLines = (before: readonly string[], after: readonly string[]): string[] => {
  let from = 0;
  while (from < before.length && from < after.length && before[from] === after[from]) from += 1;
  let end = 0;
  while (
    end < Math.min(before.length, after.length) - from &&
    before[before.length - 1 - end] === after[after.length - 1 - end]
  )
    end += 1;
  const [gone, come] = [before.slice(from, before.length - end), after.slice(from, after.length - end)];
  return [
    `body, from line ${from + 1} on:`,
    ...shorten(gone).map((line) => `- ${line}`),
    ...shorten(come).map((line) => `+ ${line}`),
  ];
};

const describeBytes = (body: Buffer): string =>
  `${body.length} bytes, SHA-256 ${createHash("sha256").update(body).digest("hex").slice(0, 16)}`;

const compareBodies = (before: Buffer | undefined, after: Buffer | undefined): string[] => {
  if (before === undefined || after === undefined)
    return before === after ? [] : [`body: ${before === undefined ? "of the first" : "of the second"} is not kept`];
  if (before.equals(after)) return [];
  const [was, is] = [asText(before), asText(after)];
  if (was !== undefined && is !== undefined) return compareLines(was.split("\n"), is.split("\n"));
  return [`- body: ${describeBytes(before)}`, `+ body: ${describeBytes(after)}`];
};

const describeEnd = ({ state, status }: ComparedResponse): string =>
  status === undefined ? `${state}, without an answer` : `${status} (${state})`;

/**
 * What differs between two answers of functions, a line each; empty when nothing does but what differs from call to call: date,
 * call id, times.
 */
export const compareResponses = (before: ComparedResponse, after: ComparedResponse): readonly string[] => [
  ...(before.status === after.status ? [] : [`- ${describeEnd(before)}`, `+ ${describeEnd(after)}`]),
  ...compareHeaders(before.headers, after.headers),
  ...compareBodies(before.body, after.body),
];
