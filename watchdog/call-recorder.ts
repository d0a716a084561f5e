import type { CallRecord, KeptBody } from "../schemas/call.ts";
import type { BuskerError } from "../schemas/errors.ts";
import type { FunctionName } from "../schemas/names.ts";
import { recordedSubject } from "../schemas/subjects.ts";
import type { IncomingBody } from "../services/bus/body-receiver.ts";
import type { BodySink } from "../services/bus/body-sender.ts";
import { encodeRecord } from "../services/bus/call-record-wire.ts";
import type { Bus } from "../services/bus/connection.ts";
import type { ReceivedRequest } from "../services/bus/invocation-wire.ts";
import type { Answer } from "./mode.ts";

/** Bodies up to this size are recorded; of larger ones, only how large they were. */
export const maxRecordedBytes = 256 * 1024;

/** Records synchronous calls with their bodies: what the annotation `com.busker.record: bodies` asks for. */
export interface CallRecorder {
  readonly open: (request: ReceivedRequest, startedMs: number) => CallRecording;
}

/** One call while it is being recorded. It looks at what goes by, and holds up nothing. */
export interface CallRecording {
  /** The rest of a streamed request's body: to be read instead of the one given. */
  readonly watchRequest: (rest: IncomingBody) => IncomingBody;
  /** The answer's head and the beginning of its body, or all of it. */
  readonly answer: (answer: Answer) => void;
  /** Where the rest of the answer goes: to be written to instead of the one given. */
  readonly watchAnswer: (sink: BodySink) => BodySink;
  /** The call is over: publishes the record once the answer has been sent. */
  readonly end: (error: BuskerError | undefined) => void;
}

/** A body that goes by: kept while it is small, and counted. */
class SeenBody {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    if (this.#bytes > maxRecordedBytes) this.#chunks = [];
    else this.#chunks.push(chunk);
  }

  get kept(): KeptBody {
    return { bytes: this.#bytes, place: this.#bytes > maxRecordedBytes ? "none" : "here" };
  }

  whole(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}

const watchIncoming = (rest: IncomingBody, seen: SeenBody): IncomingBody => ({
  consumed: (bytes) => rest.consumed(bytes),
  listen: (listener) =>
    rest.listen({
      onData: (chunk) => {
        seen.add(chunk);
        listener.onData(chunk);
      },
      onEnd: listener.onEnd,
      onError: listener.onError,
    }),
});

const watchSink = (sink: BodySink, seen: SeenBody): BodySink => ({
  write: (chunk) => {
    seen.add(chunk);
    return sink.write(chunk);
  },
  end: () => sink.end(),
  abort: (error) => sink.abort(error),
  get isOver() {
    return sink.isOver;
  },
  get onDrain() {
    return sink.onDrain;
  },
  set onDrain(drained) {
    sink.onDrain = drained;
  },
});

const contentTypeOf = ({ head }: ReceivedRequest): { readonly contentType?: string } => {
  const at = head.headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "content-type");
  const contentType = at < 0 ? undefined : head.headers[at + 1];
  return contentType === undefined ? {} : { contentType };
};

interface RecordingParts {
  readonly bus: Bus;
  readonly function: FunctionName;
  readonly request: ReceivedRequest;
  readonly startedMs: number;
}

const openRecording = ({ bus, function: name, request, startedMs }: RecordingParts): CallRecording => {
  const sent = new SeenBody();
  const answered = new SeenBody();
  let head: Pick<Answer, "status" | "headers" | "error"> | undefined;
  sent.add(request.body);
  const recordOf = (error: BuskerError | undefined, endedMs: number): CallRecord => {
    const isOk = !error && head !== undefined && head.error === undefined && head.status < 400;
    const code = error?.code ?? head?.error;
    const fault = code && { code, message: error?.message ?? Buffer.from(answered.whole()).toString("utf8").trim() };
    const status = head === undefined ? {} : { status: head.status };
    return {
      id: request.callId,
      function: name,
      state: isOk ? "succeeded" : "dead",
      priority: "normal",
      queuedMs: startedMs,
      endedMs,
      attempts: [{ number: 1, startedMs, endedMs, ...status, ...(fault ? { error: fault } : {}) }],
      ...(fault ? { error: fault } : {}),
      request: { head: request.head, ...contentTypeOf(request), body: sent.kept },
      ...(head === undefined ? {} : { response: { status: head.status, headers: head.headers, body: answered.kept } }),
      isSynchronous: true,
    };
  };
  const publish = (record: CallRecord): void => {
    // While the bus is away there is nobody to tell, and the record is no reason to hold on to bodies.
    if (!bus.isConnected()) return;
    const whole = { record, request: sent.whole(), response: answered.whole() };
    const { headers, payload } = encodeRecord(bus.source, whole);
    bus.nc.publish(recordedSubject(name.namespace, name.name, record.id), payload, { headers });
  };
  return {
    watchRequest: (rest) => watchIncoming(rest, sent),
    watchAnswer: (sink) => watchSink(sink, answered),
    answer: ({ status, headers, body, error }) => {
      head = { status, headers, ...(error === undefined ? {} : { error }) };
      answered.add(typeof body === "string" ? Buffer.from(body) : body);
    },
    end: (error) => {
      const record = recordOf(error, Date.now());
      // Behind the answer, which the caller waits for.
      setImmediate(() => publish(record));
    },
  };
};

/** Creates the recorder of one function's replica. */
export const createCallRecorder = (bus: Bus, name: FunctionName): CallRecorder => ({
  open: (request, startedMs) => openRecording({ bus, function: name, request, startedMs }),
});
