/** How an attempt or a call went wrong. */
export interface ShownError {
  readonly code: string;
  readonly message: string;
}

/** A call as `GET /system/calls` lists it. */
export interface ListedCall {
  readonly id: string;
  readonly function: string;
  readonly kind: string;
  readonly state: string;
  readonly at: string;
  readonly attempts: number;
  readonly status?: number;
  readonly error?: ShownError;
  readonly durationSeconds?: number;
  readonly nextAttemptAt?: string;
}

/** A body of a call, as text or in base64 where it is known here. */
export interface ShownBody {
  readonly bytes: number;
  readonly body?: string;
  readonly bodyBase64?: string;
}

/** Headers by name. */
export type ShownHeaders = Readonly<Record<string, string | readonly string[]>>;

/** What a function answered. */
export interface ShownResponse extends ShownBody {
  readonly status: number;
  readonly headers: ShownHeaders;
}

/** What a function was asked. */
export interface ShownRequest extends ShownBody {
  readonly method: string;
  readonly path: string;
  readonly headers: ShownHeaders;
}

/** One attempt at a call. */
export interface ShownAttempt {
  readonly number: number;
  readonly startedAt: string;
  readonly status?: number;
  readonly error?: ShownError;
  readonly durationSeconds?: number;
}

/** A call as `GET /system/calls/ID` and `GET /system/dead/ID` show it. */
export interface ShownCall {
  readonly id: string;
  readonly function: string;
  readonly state: string;
  readonly error?: ShownError;
  /** Absent of synchronous calls, which have one. */
  readonly attempts?: readonly ShownAttempt[];
  readonly request?: ShownRequest;
  readonly response?: ShownResponse;
}

/** One thing that happened to a call. */
export interface ShownEvent {
  readonly at: string;
  readonly state: string;
  readonly attempt?: number;
  readonly status?: number;
  readonly error?: ShownError;
  readonly durationSeconds?: number;
  readonly nextAttemptAt?: string;
}

/** The answer of `GET /system/calls/ID/story`. */
export interface ShownStory {
  readonly call: ShownCall;
  readonly history: readonly ShownEvent[];
  readonly logs: readonly { readonly at: string; readonly instance: string; readonly text: string }[];
  readonly children: readonly {
    readonly id: string;
    readonly function: string;
    readonly kind: string;
    readonly at: string;
  }[];
  readonly complete: boolean;
}

/** A dead letter as `GET /system/dead` lists it. */
export interface ListedLetter {
  readonly id: string;
  readonly function: string;
  readonly at: string;
  readonly attempts?: number;
  readonly status?: number;
  readonly error?: ShownError;
}

/** Whether a call in this state is over. */
export const isOver = (state: string): boolean => ["succeeded", "dead", "cancelled", "failed"].includes(state);

/** The bytes of a body; undefined where they are kept elsewhere, or not at all. */
export const bytesOf = ({ bytes, body, bodyBase64 }: ShownBody): Buffer | undefined => {
  if (body !== undefined) return Buffer.from(body);
  if (bodyBase64 !== undefined) return Buffer.from(bodyBase64, "base64");
  return bytes === 0 ? Buffer.alloc(0) : undefined;
};
