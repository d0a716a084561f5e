import type { BuskerError } from "../../schemas/errors.ts";
import type { IncomingBody } from "./body-receiver.ts";
import type { CallResult } from "./open-call.ts";

/** A function's response. */
export interface FunctionResponse {
  readonly callId: string;
  readonly status: number;
  /** Names and values in the order sent. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The first header of that name, in whatever case. */
  readonly header: (name: string) => string | undefined;
  /**
   * The body as it comes, to be read once. What is not read holds the function up; to stop reading ends the call. Throws
   * a BuskerError when the body breaks off.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body. */
  readonly bytes: () => Promise<Uint8Array>;
  /** The whole body as UTF-8. */
  readonly text: () => Promise<string>;
}

/** What a response says to its call. */
interface ResponseOwner {
  /** Nobody reads on: the function's work is to be stopped. */
  readonly cancel: () => void;
  /** Nothing more will come. */
  readonly ended: () => void;
}

type AnsweredResult = Exclude<CallResult, { readonly kind: "failed" }>;

/** Holds what has come until it is read. What is held is bounded by the credit, which is given when it is read. */
class ResponseBody implements AsyncIterable<Uint8Array> {
  readonly #owner: ResponseOwner;
  readonly #held: Uint8Array[] = [];
  #rest: IncomingBody | undefined;
  #error: BuskerError | undefined;
  #isOver = false;
  #wake: () => void = () => {};

  constructor(first: Uint8Array, rest: IncomingBody | undefined, owner: ResponseOwner) {
    this.#owner = owner;
    this.#rest = rest;
    if (first.length > 0) this.#held.push(first);
    if (!rest) this.#end();
    rest?.listen({
      onData: (chunk) => {
        this.#held.push(chunk);
        this.#wake();
      },
      onEnd: () => this.#end(),
      onError: (error) => this.fail(error),
    });
  }

  fail(error: BuskerError): void {
    if (this.#isOver) return;
    this.#error = error;
    this.#end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const chunk = this.#held.shift();
        if (chunk) {
          yield chunk;
          this.#rest?.consumed(chunk.length);
        } else if (this.#error) throw this.#error;
        else if (this.#isOver) return;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      if (!this.#isOver) {
        this.#end();
        this.#owner.cancel();
      }
    }
  }

  #end(): void {
    this.#isOver = true;
    this.#rest = undefined;
    this.#owner.ended();
    this.#wake();
  }
}

const collect = async (body: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
};

/** Makes the response of a result; to be called in the turn in which the result came. */
export const openResponse = (
  callId: string,
  result: AnsweredResult,
  owner: ResponseOwner,
): { readonly response: FunctionResponse; readonly fail: (error: BuskerError) => void } => {
  const flat = result.reply.head.headers;
  const headers = flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ""] as const] : []));
  const body = new ResponseBody(result.body, result.kind === "streaming" ? result.rest : undefined, owner);
  return {
    fail: (error) => body.fail(error),
    response: {
      callId,
      status: result.reply.head.status,
      headers,
      header: (name) => headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1],
      body,
      bytes: () => collect(body),
      text: async () => (await collect(body)).toString("utf8"),
    },
  };
};
