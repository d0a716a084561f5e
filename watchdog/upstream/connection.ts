import { connect, type Socket } from "node:net";
import { BuskerError } from "../../schemas/errors.ts";
import { maxWholeBytes, wholeWaitMs } from "../../schemas/invocation.ts";
import type { BodySink } from "../../services/bus/body-sender.ts";
import type { ParsedHead } from "./response-head.ts";
import { createSocketWriter, createUploadWriter, type SocketWriter, type UploadParts } from "./upload-writer.ts";
import { createResponseReader, type ResponseReader, type UpstreamResponse } from "./response-reader.ts";

/** What became of one request on a connection. */
export type ExchangeOutcome =
  | { readonly kind: "answered"; readonly response: UpstreamResponse }
  /** `body` is what has come so far; `start` is to be called at once, with where the rest goes. */
  | {
      readonly kind: "streaming";
      readonly head: ParsedHead;
      readonly body: Buffer;
      readonly start: (sink: BodySink) => void;
    }
  | { readonly kind: "failed"; readonly error: BuskerError; readonly heardNothing: boolean };

/** One request as it goes over the wire. */
export interface ExchangeRequest {
  readonly head: string;
  readonly body: Uint8Array;
  readonly isHead: boolean;
  /** Whether the outcome may be "streaming". */
  readonly canStream?: boolean;
  /** The body is streamed: `body` is its beginning, this the rest. */
  readonly upload?: UploadParts | undefined;
  /** A WebSocket is asked for: `upload` is what its client sends, and the outcome "streaming" may have status 101. */
  readonly isUpgrade?: boolean;
}

/** Memory that a socket reads into: large enough for nearly every answer in one read. */
const readBufferBytes = 64 * 1024;

/** Bodies up to this size are copied behind their head, which is cheaper than a second system call. */
const joinedBytes = 64 * 1024;

/**
 * How long a function may be silent that has been told that its WebSocket's client sends nothing more: most clients close
 * both ways at once, and some servers do not notice.
 */
const halfClosedMs = 1000;

/** One connection to the function; it carries one request at a time. */
export class UpstreamConnection {
  /** When it last became idle, milliseconds since the epoch. */
  idleSinceMs = 0;
  /** How long the server said to keep an idle connection, when it did. */
  keepAliveSeconds: number | undefined;
  readonly #socket: Socket;
  readonly #maxBodyBytes: number;
  readonly #onGone: (connection: UpstreamConnection) => void;
  #reader: ResponseReader | undefined;
  #finish: ((outcome: ExchangeOutcome) => void) | undefined;
  /** What is carried now, to its answer's last byte. */
  #request: ExchangeRequest | undefined;
  readonly #onStreamed: (connection: UpstreamConnection) => void;
  #canStream = false;
  /** Where a streamed answer goes, from its head to its end. */
  #sink: BodySink | undefined;
  #isPaused = false;
  #wholeTimer: NodeJS.Timeout | undefined;
  /** The exchange whose request is still being sent, if it is streamed. */
  #uploading: UploadParts | undefined;
  /** What the caller sends into the WebSocket that was asked for. */
  #socketWriter: SocketWriter | undefined;
  #halfClosedTimer: NodeJS.Timeout | undefined;
  #heardNothing = true;
  #readBuffer = Buffer.allocUnsafeSlow(readBufferBytes);
  #isBufferKept = false;
  #gone = false;

  constructor(options: {
    host: string;
    port: number;
    maxBodyBytes: number;
    onGone: (connection: UpstreamConnection) => void;
    /** A streamed answer has ended. */
    onStreamed: (connection: UpstreamConnection) => void;
  }) {
    this.#onStreamed = options.onStreamed;
    this.#maxBodyBytes = options.maxBodyBytes;
    this.#onGone = options.onGone;
    this.#socket = connect({
      host: options.host,
      port: options.port,
      noDelay: true,
      // One buffer until something in it is kept: without it every read allocates and passes through a stream.
      onread: {
        buffer: () => this.#nextReadBuffer(),
        callback: (bytes, buffer) => this.#onRead(bytes, buffer),
      },
    });
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("error", (error) => this.#fail(`the connection to the function failed: ${error.message}`));
    this.#socket.on("close", () => this.#fail("the function closed the connection"));
  }

  /** Whether another request may be sent. */
  get isUsable(): boolean {
    return !this.#gone && this.#finish === undefined && this.#sink === undefined;
  }

  /** Sends a request; `finish` is called exactly once, never before this returns. */
  send(request: ExchangeRequest, finish: (outcome: ExchangeOutcome) => void): void {
    this.#canStream = request.canStream === true;
    const maxBytes = this.#canStream ? Number.POSITIVE_INFINITY : this.#maxBodyBytes;
    this.#reader = createResponseReader(request.isHead, maxBytes, {
      isUpgrade: request.isUpgrade === true,
      keep: this.#keepChunk,
    });
    this.#request = request;
    this.#finish = finish;
    this.#heardNothing = true;
    if (request.upload) this.#writeStreamed(request, request.upload, request.isUpgrade === true);
    else this.#write(request);
  }

  /** Closes at once; a request in flight is not answered any more. */
  destroy(): void {
    this.#finish = undefined;
    this.#sink = undefined;
    this.#drop();
  }

  /** Closes at once if this is still the request in flight, which is not answered any more. */
  cancel(request: ExchangeRequest): void {
    if (this.#request === request) this.destroy();
  }

  /** Closes at once; a request in flight fails with this reason. */
  fail(reason: string): void {
    this.#fail(reason);
  }

  #write({ head, body }: ExchangeRequest): void {
    const { length } = body;
    if (length === 0) this.#socket.write(head, "latin1");
    else if (length <= joinedBytes) {
      const bytes = Buffer.allocUnsafe(head.length + length);
      bytes.write(head, "latin1");
      bytes.set(body, head.length);
      this.#socket.write(bytes);
    } else {
      this.#socket.cork();
      this.#socket.write(head, "latin1");
      this.#socket.write(body);
      this.#socket.uncork();
    }
  }

  #openSocketWriter({ rest }: UploadParts): SocketWriter {
    const endWriting = (): void => {
      this.#socket.end(() => this.#awaitOtherHalf());
    };
    return (this.#socketWriter = createSocketWriter(
      rest,
      (bytes, sent) => this.#socket.write(bytes, sent),
      endWriting,
    ));
  }

  #awaitOtherHalf(): void {
    if (this.#gone) return;
    this.#halfClosedTimer = setTimeout(() => {
      // It is not the function that is silent while its caller does not read.
      if (this.#isPaused) this.#halfClosedTimer?.refresh();
      else this.#onEnd();
    }, halfClosedMs);
  }

  #writeStreamed({ head, body }: ExchangeRequest, upload: UploadParts, isUpgrade: boolean): void {
    this.#uploading = upload;
    const isCurrent = (): boolean => this.#uploading === upload && !this.#gone;
    const writer = isUpgrade
      ? this.#openSocketWriter(upload)
      : createUploadWriter(upload, (bytes, sent) => this.#socket.write(bytes, sent));
    const guarded = (step: () => void): void => {
      if (!isCurrent()) return;
      try {
        step();
      } catch (error) {
        this.#failWith(toBuskerError(error));
      }
    };
    upload.rest.listen({
      onData: (chunk) => guarded(() => writer.write(chunk)),
      onEnd: () =>
        guarded(() => {
          writer.end();
          this.#uploading = undefined;
        }),
      onError: (error) => {
        if (isCurrent()) this.#failWith(error);
      },
    });
    this.#socket.write(head, "latin1");
    if (body.length > 0) writer.write(body);
  }

  /** A large piece of a body goes on from where it was read to; a small one would hold the whole buffer. */
  readonly #keepChunk = (chunk: Buffer): Buffer => {
    if (chunk.length < readBufferBytes / 2) return Buffer.from(chunk);
    this.#isBufferKept = true;
    return chunk;
  };

  #nextReadBuffer(): Buffer {
    if (this.#isBufferKept) this.#readBuffer = Buffer.allocUnsafeSlow(readBufferBytes);
    this.#isBufferKept = false;
    return this.#readBuffer;
  }

  #onRead(bytes: number, buffer: Uint8Array): boolean {
    this.#heardNothing = false;
    this.#halfClosedTimer?.refresh();
    if (!this.#reader) this.#drop();
    else this.#settle(() => this.#reader?.feed(Buffer.from(buffer.buffer, buffer.byteOffset, bytes)));
    return !this.#isPaused;
  }

  #onEnd(): void {
    if (this.#heardNothing || !this.#reader) return this.#fail("the function closed the connection without an answer");
    this.#settle(() => this.#reader?.close());
  }

  #settle(read: () => UpstreamResponse | undefined): void {
    try {
      const response = read();
      if (response) this.#answer(response);
      else if (this.#canStream && this.#reader) this.#passOn(this.#reader);
    } catch (error) {
      this.#failWith(toBuskerError(error));
    }
  }

  #passOn(reader: ResponseReader): void {
    if (this.#sink) return this.#writeOn(this.#sink, reader.take());
    const head = reader.head();
    if (!head) return;
    const { framing } = head;
    if (framing.kind === "length" && framing.bytes <= maxWholeBytes)
      this.#wholeTimer ??= setTimeout(() => this.#startStream(head, reader), wholeWaitMs);
    else this.#startStream(head, reader);
  }

  #startStream(head: ParsedHead, reader: ResponseReader): void {
    const finish = this.#finish;
    this.#finish = undefined;
    clearTimeout(this.#wholeTimer);
    this.#wholeTimer = undefined;
    const start = (sink: BodySink): void => {
      this.#sink = sink;
      sink.onDrain = () => {
        if (!this.#isPaused || this.#gone) return;
        this.#isPaused = false;
        this.#socket.resume();
      };
    };
    finish?.({ kind: "streaming", head: withLength(head), body: reader.take(), start });
    this.#socketWriter?.settle(head.status === 101);
  }

  #writeOn(sink: BodySink, piece: Buffer): void {
    // Reading stops until the caller has taken what is there: the function is slowed down, nothing piles up here.
    if (piece.length > 0 && !sink.write(piece)) this.#isPaused = true;
  }

  #answer(response: UpstreamResponse): void {
    const finish = this.#finish;
    const sink = this.#sink;
    this.#request = undefined;
    this.#finish = undefined;
    this.#sink = undefined;
    this.#reader = undefined;
    clearTimeout(this.#wholeTimer);
    this.#wholeTimer = undefined;
    this.keepAliveSeconds = response.head.keepAliveSeconds;
    // A server that answers before it has read the whole request will not read the rest as we mean it.
    const isRead = this.#socket.writableLength === 0 && !this.#uploading && !this.#socketWriter;
    if (!response.head.keepAlive || !isRead) this.#drop();
    if (!sink) return finish?.({ kind: "answered", response });
    if (response.body.length > 0) sink.write(response.body);
    sink.end();
    this.#onStreamed(this);
  }

  #fail(reason: string): void {
    this.#failWith(new BuskerError("function_unreachable", reason));
  }

  #failWith(error: BuskerError): void {
    const finish = this.#finish;
    const sink = this.#sink;
    this.#finish = undefined;
    this.#sink = undefined;
    this.#drop();
    sink?.abort(error);
    finish?.({ kind: "failed", error, heardNothing: this.#heardNothing });
  }

  #drop(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#request = undefined;
    clearTimeout(this.#wholeTimer);
    clearTimeout(this.#halfClosedTimer);
    this.#reader = undefined;
    this.#socket.destroy();
    this.#onGone(this);
  }
}

const toBuskerError = (error: unknown): BuskerError =>
  error instanceof BuskerError ? error : new BuskerError("internal", String(error), { cause: error });

/** A streamed answer keeps the length that it said, so that its client can tell how much is to come. */
const withLength = (head: ParsedHead): ParsedHead =>
  head.framing.kind === "length"
    ? { ...head, headers: [...head.headers, "Content-Length", String(head.framing.bytes)] }
    : head;
