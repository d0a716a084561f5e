import { BuskerError } from "../schemas/errors.ts";
import { parseDurationMs } from "../schemas/function.ts";
import { maxFrameBytes } from "../schemas/invocation.ts";
import { maxBodyBytes } from "../schemas/topology.ts";
import type { BagItem } from "../services/bus/bag.ts";
import type { IncomingBody } from "../services/bus/body-receiver.ts";
import type { BusMessage } from "../services/bus/connection.ts";
import type { ReceivedRequest } from "../services/bus/invocation-wire.ts";
import { type Answering, callerOf, errorAnswerOf } from "./answer-calls.ts";
import { stopError } from "./answers.ts";
import type { CallRecorder, CallRecording } from "./call-recorder.ts";
import type { CallStream, CallStreams } from "./call-streams.ts";
import type { CallTrace, CallTracer } from "./call-trace.ts";
import { collectRest, ignoreRest } from "./collect-rest.ts";
import { isEventStream, type KeptAnswers } from "./kept-answers.ts";
import type { KeptSink } from "./kept-sink.ts";
import type { Answer, Mode, StopCall, StopCause } from "./mode.ts";
import type { Reporter } from "./reporter.ts";
import type { SlotKeeper } from "./slot-keeper.ts";

/** What running calls takes. */
export interface RunnerParts {
  readonly mode: Mode;
  readonly keeper: SlotKeeper;
  readonly reporter: Reporter;
  readonly answering: Answering;
  readonly streams: CallStreams;
  readonly kept: KeptAnswers;
  /** Absent: calls are recorded without their bodies. */
  readonly recorder?: CallRecorder | undefined;
  /** Absent: no call is traced. */
  readonly tracer?: CallTracer | undefined;
  /** The function's one timeout, in milliseconds. */
  readonly timeoutMs: number;
  /** Path of the function's own readiness, where it has one; else empty. */
  readonly readyPath: string;
  /** The function did not answer as a process that lives does: its end may not be known yet. */
  readonly onUnreachable: () => void;
}

/** `X-Timeout` shortens a single call (contract §3.1); undefined when it is absent or no duration. */
const ownTimeoutMs = (headers: readonly string[]): number | undefined => {
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.length === 9 && headers[at]?.toLowerCase() === "x-timeout")
      return parseDurationMs(headers[at + 1] ?? "");
  return undefined;
};

const deadlineOf = (request: ReceivedRequest, startedMs: number, timeoutMs: number): number => {
  const own = startedMs + Math.min(timeoutMs, ownTimeoutMs(request.head.headers) ?? timeoutMs);
  return Math.min(request.deadlineMs ?? own, own);
};

const nothing = new Uint8Array();

// Told to nobody but the metrics. A frame to no subject would make the server cut this replica off.
const restless = new BuskerError(
  "invalid_request",
  "a streamed body needs a reply subject: without one, its sender cannot be asked for the rest",
);

const bytesOf = (body: Uint8Array | string): Uint8Array => (typeof body === "string" ? Buffer.from(body) : body);

/** One call that has a slot, from its request to its last message. */
export class RunningCall implements BagItem {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly deadlineMs: number;
  bagIndex = -1;
  readonly #parts: RunnerParts;
  readonly #message: BusMessage;
  readonly #request: ReceivedRequest;
  readonly #onEnd: (call: RunningCall) => void;
  readonly #startedMs: number;
  #stop: StopCall | undefined;
  #isStopped = false;
  /** Why its stream broke: told instead of what the mode makes of its end. */
  #fault: BuskerError | undefined;
  #stream: CallStream | undefined;
  #kept: KeptSink | undefined;
  readonly #recording: CallRecording | undefined;
  readonly #trace: CallTrace | undefined;

  /** `onEnd` is called once, before the call's last message. */
  constructor(parts: RunnerParts, message: BusMessage, request: ReceivedRequest, onEnd: (call: RunningCall) => void) {
    this.id = request.callId;
    this.#parts = parts;
    this.#message = message;
    this.#request = request;
    this.#onEnd = onEnd;
    this.#startedMs = Date.now();
    this.deadlineMs = deadlineOf(request, this.#startedMs, parts.timeoutMs);
    this.#trace = parts.tracer?.open(message, request);
    // A WebSocket has no bodies.
    if (!request.isRecorded && !request.head.upgrade) this.#recording = parts.recorder?.open(request, this.#startedMs);
  }

  /** Hands the call to the function. */
  begin(): void {
    const { body, isStreamed, head } = this.#request;
    if (!isStreamed) return this.#run(body);
    if (!this.#message.reply) return this.#finishWhole(errorAnswerOf(restless));
    const { takesStreams } = this.#parts.mode;
    const upload = this.#openStream().upload(body.length);
    const rest = this.#recording?.watchRequest(upload) ?? upload;
    if (head.upgrade && !(takesStreams && this.#canStream)) {
      // Its sender must not wait for credit: it would not notice its own client's end.
      ignoreRest(body, rest);
      return this.#run(nothing);
    }
    if (takesStreams) return this.#run(body, rest);
    this.#stop = (cause) => this.#finishWhole(errorAnswerOf(this.#fault ?? stopError(cause)));
    collectRest(body, rest, maxBodyBytes, (whole) => {
      if (this.#isStopped) return;
      if (whole instanceof BuskerError) this.#finishWhole(errorAnswerOf(whole));
      else this.#run(whole);
    });
  }

  /** Ends the function's work on it; the call is still answered. */
  stop(cause: StopCause): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (cause === "deadline") this.#logOverrun();
    this.#stop?.(cause);
    this.#kept?.hurry(this.#fault);
  }

  get #canStream(): boolean {
    return this.#request.windowBytes > 0 && this.#message.reply !== undefined;
  }

  /** Whoever looks why a function's work ended in the middle finds it in the log. */
  #logOverrun(): void {
    const seconds = ((this.deadlineMs - this.#startedMs) / 1000).toFixed(1);
    this.#parts.reporter.log("stderr", `the call was stopped at its deadline, after ${seconds} s`, this.id);
  }

  #run(body: Uint8Array, rest?: IncomingBody): void {
    const { method, path, headers: given, upgrade } = this.#request.head;
    const { id, deadlineMs } = this;
    const headers = this.#trace?.beginFunction(given) ?? given;
    this.#stop = this.#parts.mode.begin(
      { id, method, path, headers, body, rest, upgrade: rest && upgrade, canStream: this.#canStream, deadlineMs },
      (answer) => this.#finish(answer),
    );
    this.#parts.reporter.had(Date.now() - this.#startedMs);
  }

  #openStream(): CallStream {
    return (this.#stream ??= this.#parts.streams.open(this.#message.reply ?? "", (fault) => {
      this.#fault = fault;
      this.stop("cancelled");
    }));
  }

  #finish(answer: Answer): void {
    if (!answer.stream) this.#trace?.endFunction(answer.status, answer.error);
    if (this.#fault) this.#finishWhole(errorAnswerOf(this.#fault));
    else if (this.#request.keepsEvents && this.#canStream && isEventStream(answer)) this.#keep(answer);
    else if (answer.stream) this.#passOn(answer, answer.stream);
    else this.#finishWhole(answer);
  }

  #finishWhole(answer: Answer): void {
    const durationMs = Date.now() - this.#startedMs;
    this.#recording?.answer(answer);
    const offer = this.#end(answer.status, undefined, answer.error);
    if (answer.error === "function_unreachable") this.#parts.onUnreachable();
    this.#parts.answering.answer(this.#message, this.id, answer, { offer, durationMs });
  }

  /** The answer's beginning goes out, and the rest as it comes. */
  #passOn(answer: Answer, start: NonNullable<Answer["stream"]>): void {
    const { status, headers, body } = answer;
    this.#recording?.answer(answer);
    const stream = this.#openStream();
    const { windowBytes } = this.#request;
    const bytes = bytesOf(body);
    const first = bytes.subarray(0, Math.min(maxFrameBytes, windowBytes));
    this.#answerHead({ status, headers, body: first }, stream.inbox);
    const sink = stream.answer(first.length, windowBytes, (kind, number, error) =>
      this.#endStream(kind, number, status, this.#toldOf(error)),
    );
    sink.write(bytes.subarray(first.length));
    start(this.#recording?.watchAnswer(sink) ?? sink);
  }

  /** The answer's events go where they are kept, and to the caller only that they do, and the end. */
  #keep(answer: Answer): void {
    const { status, headers } = answer;
    this.#recording?.answer(answer);
    const openStream = this.#openStream();
    const { id, sink } = this.#parts.kept.open({
      callId: this.id,
      head: { status, headers },
      deadlineMs: this.deadlineMs,
      toldOf: (error) => this.#toldOf(error),
      onFault: (fault) => {
        this.#fault ??= fault;
        if (answer.stream) this.stop("cancelled");
        sink.abort(fault);
      },
      onLast: (error) => this.#endStream(error ? "abort" : "end", 1, status, error),
    });
    this.#answerHead({ status, headers, body: nothing }, openStream.inbox, id);
    this.#kept = sink;
    openStream.keep((total) => sink.grant(total));
    sink.write(bytesOf(answer.body));
    if (answer.stream) answer.stream(this.#recording?.watchAnswer(sink) ?? sink);
    else sink.end();
  }

  #answerHead(head: Answer, inbox: string, stream?: string): void {
    const about = { offer: false, durationMs: Date.now() - this.#startedMs, inbox };
    this.#parts.answering.answer(this.#message, this.id, head, stream === undefined ? about : { ...about, stream });
  }

  #toldOf(error: BuskerError | undefined): BuskerError | undefined {
    return error && (this.#fault ?? error);
  }

  #endStream(kind: "end" | "abort", number: number, status: number, error: BuskerError | undefined): void {
    if (error?.code === "function_unreachable") this.#parts.onUnreachable();
    this.#parts.answering.last(this.#message, {
      kind,
      number,
      error,
      offer: this.#end(error?.status ?? status, error),
    });
  }

  /** Before the call's last message; tells whether a slot is held for its caller. */
  #end(status: number, error?: BuskerError, code = error?.code): boolean {
    const { reporter, keeper } = this.#parts;
    this.#onEnd(this);
    this.#stream?.close();
    const startedMs = this.#startedMs;
    const call = { id: this.id, status, startedMs, durationMs: Date.now() - startedMs };
    reporter.finished(call, this.#request.isRecorded);
    this.#recording?.end(error);
    this.#trace?.end(status, code);
    return keeper.release(callerOf(this.#message));
  }
}
