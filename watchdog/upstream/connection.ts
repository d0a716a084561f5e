import { connect, type Socket } from "node:net";
import { BuskerError } from "../../schemas/errors.ts";
import { createResponseReader, type ResponseReader, type UpstreamResponse } from "./response-reader.ts";

/** What became of one request on a connection. */
export type ExchangeOutcome =
  | { readonly kind: "answered"; readonly response: UpstreamResponse }
  | { readonly kind: "failed"; readonly error: BuskerError; readonly heardNothing: boolean };

/** One request as it goes over the wire. */
export interface ExchangeRequest {
  readonly head: string;
  readonly body: Uint8Array;
  readonly isHead: boolean;
}

/** Memory that a socket reads into: large enough for nearly every answer in one read. */
const readBufferBytes = 32 * 1024;

/** Bodies up to this size are copied behind their head, which is cheaper than a second system call. */
const joinedBytes = 64 * 1024;

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
  #heardNothing = true;
  #gone = false;

  constructor(options: {
    host: string;
    port: number;
    maxBodyBytes: number;
    onGone: (connection: UpstreamConnection) => void;
  }) {
    this.#maxBodyBytes = options.maxBodyBytes;
    this.#onGone = options.onGone;
    this.#socket = connect({
      host: options.host,
      port: options.port,
      noDelay: true,
      // One buffer for the connection's whole life: without it every read allocates and passes through a stream.
      onread: {
        buffer: Buffer.allocUnsafeSlow(readBufferBytes),
        callback: (bytes, buffer) => this.#onRead(bytes, buffer),
      },
    });
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("error", (error) => this.#fail(`the connection to the function failed: ${error.message}`));
    this.#socket.on("close", () => this.#fail("the function closed the connection"));
  }

  /** Whether another request may be sent. */
  get isUsable(): boolean {
    return !this.#gone && this.#finish === undefined;
  }

  /** Sends a request; `finish` is called exactly once, never before this returns. */
  send(request: ExchangeRequest, finish: (outcome: ExchangeOutcome) => void): void {
    this.#reader = createResponseReader(request.isHead, this.#maxBodyBytes);
    this.#finish = finish;
    this.#heardNothing = true;
    this.#write(request);
  }

  /** Closes at once; a request in flight is not answered any more. */
  destroy(): void {
    this.#finish = undefined;
    this.#drop();
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

  #onRead(bytes: number, buffer: Uint8Array): boolean {
    this.#heardNothing = false;
    if (!this.#reader) this.#drop();
    else this.#settle(() => this.#reader?.feed(Buffer.from(buffer.buffer, buffer.byteOffset, bytes)));
    return true;
  }

  #onEnd(): void {
    if (this.#heardNothing || !this.#reader) return this.#fail("the function closed the connection without an answer");
    this.#settle(() => this.#reader?.close());
  }

  #settle(read: () => UpstreamResponse | undefined): void {
    try {
      const response = read();
      if (response) this.#answer(response);
    } catch (error) {
      this.#failWith(
        error instanceof BuskerError ? error : new BuskerError("internal", String(error), { cause: error }),
      );
    }
  }

  #answer(response: UpstreamResponse): void {
    const finish = this.#finish;
    this.#finish = undefined;
    this.#reader = undefined;
    this.keepAliveSeconds = response.head.keepAliveSeconds;
    // A server that answers before it has read the whole request will not read the rest as we mean it.
    if (!response.head.keepAlive || this.#socket.writableLength > 0) this.#drop();
    finish?.({ kind: "answered", response });
  }

  #fail(reason: string): void {
    this.#failWith(new BuskerError("function_unreachable", reason));
  }

  #failWith(error: BuskerError): void {
    const finish = this.#finish;
    this.#finish = undefined;
    this.#drop();
    finish?.({ kind: "failed", error, heardNothing: this.#heardNothing });
  }

  #drop(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#reader = undefined;
    this.#socket.destroy();
    this.#onGone(this);
  }
}
