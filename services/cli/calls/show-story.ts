import { printLine, type Terminal } from "../terminal.ts";
import type { ShownBody, ShownCall, ShownEvent, ShownHeaders, ShownStory } from "./call-shapes.ts";

// Of a body, for a person; `--json` has all of it.
const maxShown = 2000;

/** Seconds as a person reads them. */
export const formatSeconds = (seconds: number): string =>
  seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;

const describeEvent = ({
  attempt,
  status,
  durationSeconds,
  nextAttemptAt,
  error,
}: Omit<ShownEvent, "at" | "state">): string =>
  [
    ...(attempt === undefined ? [] : [`attempt ${attempt}`]),
    ...(status === undefined ? [] : [`status ${status}`]),
    ...(durationSeconds === undefined ? [] : [formatSeconds(durationSeconds)]),
    ...(nextAttemptAt === undefined ? [] : [`due ${nextAttemptAt}`]),
    ...(error === undefined ? [] : [`${error.code}: ${error.message.trim()}`]),
  ].join(", ");

// What a stranger sent or a function answered gives the terminal no orders: escape sequences are shown, not obeyed.
const control = /[\p{Cc}\u2028\u2029]/gu;
const showControls = (text: string): string =>
  text
    .replaceAll("\r\n", "\n")
    .replace(control, (sign) =>
      sign === "\n" || sign === "\t" ? sign : `\\x${(sign.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`,
    );

const printHeaders = (terminal: Terminal, headers: ShownHeaders): void => {
  for (const [name, value] of Object.entries(headers))
    for (const text of typeof value === "string" ? [value] : value)
      printLine(terminal, `  ${name}: ${showControls(text)}`);
};

const printBody = (terminal: Terminal, { bytes, body, bodyBase64 }: ShownBody): void => {
  const text = body ?? bodyBase64;
  if (text === undefined || text === "") printLine(terminal, `  (${bytes} bytes)`);
  else printLine(terminal, `\n  ${showControls(text.slice(0, maxShown).trimEnd()).replaceAll("\n", "\n  ")}`);
  if (bodyBase64) printLine(terminal, "  (not text: in base64)");
  if (text !== undefined && text.length > maxShown) printLine(terminal, `  … ${bytes} bytes in all`);
};

const printCall = (terminal: Terminal, call: ShownCall): void => {
  printLine(terminal, `call:      ${call.id}`);
  printLine(terminal, `function:  ${call.function}`);
  printLine(terminal, `state:     ${call.state}`);
  if (call.error) printLine(terminal, `error:     ${call.error.code}: ${call.error.message.trim()}`);
  if (call.request) {
    printLine(terminal, `\nrequest:   ${call.request.method} ${call.request.path}`);
    printHeaders(terminal, call.request.headers);
    printBody(terminal, call.request);
  }
  if (!call.response) return;
  printLine(terminal, `\nresponse:  ${call.response.status}`);
  printHeaders(terminal, call.response.headers);
  printBody(terminal, call.response);
};

/** Writes a dead letter: its call and each attempt at it. */
export const printLetter = (terminal: Terminal, call: ShownCall): void => {
  printCall(terminal, call);
  const { attempts = [] } = call;
  if (attempts.length > 0) printLine(terminal, "\nattempts:");
  for (const { startedAt, number, ...what } of attempts)
    printLine(terminal, `  ${startedAt}  ${describeEvent({ attempt: number, ...what })}`);
};

/** Writes all that is known of a call: also what happened to it, what its function wrote and what came of it. */
export const printStory = (terminal: Terminal, { call, history, logs, children, complete }: ShownStory): void => {
  printCall(terminal, call);
  printLine(terminal, "\nhistory:");
  for (const event of history)
    printLine(terminal, `  ${event.at}  ${event.state.padEnd(9)}  ${describeEvent(event)}`.trimEnd());
  if (logs.length > 0) printLine(terminal, "\nlogs:");
  for (const { at, instance, text } of logs)
    printLine(terminal, `  ${at}  ${instance}  ${showControls(text.trimEnd())}`);
  if (children.length > 0) printLine(terminal, "\nwhat came of it:");
  for (const { at, id, function: name, kind } of children) printLine(terminal, `  ${at}  ${id}  ${name} (${kind})`);
  if (!complete) printLine(terminal, "\n(so much happened at the same time that not all of its lines were looked for)");
};
