import { BuskerError, errorCatalogue, type ErrorCode } from "../schemas/errors.ts";
import type { Answer, StopCause } from "./mode.ts";

const textHeaders: readonly string[] = ["Content-Type", "text/plain; charset=utf-8"];

/** An answer in plain text that counts as the function's own. */
export const textAnswer = (status: number, text: string): Answer => ({ status, headers: textHeaders, body: text });

/** An answer made by the platform: status by the error's code, the message as text. */
export const errorAnswer = (code: ErrorCode, message: string): Answer => ({
  status: errorCatalogue[code].status,
  headers: textHeaders,
  body: `${message}\n`,
  error: code,
});

/** The answer for whatever was thrown: a BuskerError's own code, `internal` for anything else. */
export const answerOfError = (error: unknown): Answer =>
  error instanceof BuskerError
    ? errorAnswer(error.code, error.message)
    : errorAnswer("internal", `cannot run the call: ${messageOf(error)}`);

/** The error of a call that was stopped from outside. */
export const stopError = (cause: StopCause): BuskerError =>
  cause === "deadline"
    ? new BuskerError("deadline_exceeded", "the function did not answer before its deadline and was stopped")
    : new BuskerError("cancelled", "the call was cancelled by its caller and the function was stopped");

/** The answer of a call that was stopped from outside. */
export const stopAnswer = (cause: StopCause): Answer => answerOfError(stopError(cause));

/** The answer when a function wrote more than one reply may hold. */
export const tooLargeAnswer = (maxBytes: number): Answer =>
  errorAnswer("response_too_large", `the function's response is larger than the limit of ${maxBytes} bytes`);

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
