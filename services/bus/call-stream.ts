import type { Msg, MsgHdrs } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { BodyReceiver, type IncomingBody } from "./body-receiver.ts";
import { BodySender, type BodySink, type PublishFrame } from "./body-sender.ts";
import { abortError, encodeFrame, type Frame } from "./frames.ts";
import { headerValue } from "./headers.ts";
import { createKeptCredit } from "./kept-credit.ts";
import type { WindowShare } from "./window-share.ts";

/** What of a call its stream needs. */
interface StreamedCall {
  readonly body: Uint8Array;
  readonly windowBytes: number;
  readonly upload: ((sink: BodySink) => void) | undefined;
}

/** How a caller's frames leave. */
interface StreamTransport {
  readonly frame: (subject: string, headers: MsgHdrs, payload: Uint8Array) => void;
  readonly windows: WindowShare;
}

const nothing = new Uint8Array();

// The replica chose this subject, and a service may publish to more than a replica may: only its own is taken.
const inboxOf = (headers: string, replicaSubject: string): string => {
  const inbox = headerValue(headers, wireHeaders.inbox) ?? "";
  if (inbox.startsWith(`${replicaSubject}.`) && /^[A-Za-z0-9_-]+$/.test(inbox.slice(replicaSubject.length + 1)))
    return inbox;
  throw new BuskerError("internal", `the replica's first frame must name an inbox of its own; got "${inbox}"`);
};

/** The caller's side of one streamed call, from the replica's first frame to the end. */
export class CallStream {
  readonly #call: StreamedCall;
  readonly #transport: StreamTransport;
  readonly #inbox: string;
  #upload: BodySender | undefined;
  #answer: BodyReceiver | undefined;
  #isClosed = false;

  /** `headers` are those of the first frame. Throws `internal` when they name no inbox of that replica. */
  constructor(call: StreamedCall, replicaSubject: string, transport: StreamTransport, headers: string) {
    this.#call = call;
    this.#transport = transport;
    this.#inbox = inboxOf(headers, replicaSubject);
    transport.windows.take();
  }

  /** The head has been handed over: what goes wrong from now on is told by the body. */
  get isAnswering(): boolean {
    return this.#answer !== undefined;
  }

  /**
   * The head has come with so many bytes. Of a kept answer, `consumed` takes each event that the client has taken, and
   * infinity when it takes no more. Throws `internal` when a head was not due.
   */
  open(receivedBytes: number, isKept: boolean): IncomingBody {
    const { windowBytes } = this.#call;
    if (this.#answer || windowBytes === 0)
      throw new BuskerError("internal", "the replica streams an answer that was not asked for, or a second one");
    const grant = (totalBytes: number): void => {
      if (!this.#isClosed) this.#transport.frame(this.#inbox, encodeFrame("credit", totalBytes), nothing);
    };
    const mostBytes = (): number => this.#transport.windows.most();
    const answer = new BodyReceiver({ receivedBytes, grantedBytes: windowBytes, windowBytes, mostBytes, grant });
    this.#answer = answer;
    return isKept ? { listen: (listener) => answer.listen(listener), consumed: createKeptCredit(grant) } : answer;
  }

  /** Takes `credit` and `data`. Throws the error that ends the call. */
  onFrame({ kind, number }: Frame, data: Uint8Array): void {
    if (kind === "credit") return this.#onCredit(number);
    if (!this.#answer) throw new BuskerError("internal", `the replica sent "${kind}" before the head of its answer`);
    const fault = this.#answer.take(number, data);
    if (fault) throw fault;
  }

  /** Takes `end` and `abort`; gives the error that the body ended with. */
  endOf({ kind, number }: Frame, message: Msg, headers: string): BuskerError | undefined {
    if (kind === "abort") return abortError(headers, message);
    if (!this.#answer) return new BuskerError("internal", "the replica ended an answer that has no head");
    return this.#answer.end(number);
  }

  /** Ends the answer with an error, unless it has ended. */
  fail(error: BuskerError): void {
    this.#answer?.fail(error);
  }

  /** Sends nothing any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#upload?.close();
    this.#transport.windows.giveBack();
  }

  #onCredit(totalBytes: number): void {
    if (this.#upload) return this.#upload.grant(totalBytes);
    const { upload, body } = this.#call;
    if (!upload) throw new BuskerError("internal", "the replica grants credit for a body that was whole");
    const publish: PublishFrame = (kind, number, payload, error) =>
      this.#transport.frame(this.#inbox, encodeFrame(kind, number, error?.code), payload);
    this.#upload = new BodySender(publish, body.length, totalBytes);
    upload(this.#upload);
  }
}
