/**
 * The catalogue of platform errors: what can go wrong outside a function's own code. A code travels in the
 * `Busker-Error` header of a reply and in the `error.code` of an outcome event; it never changes its meaning.
 *
 * `status` is the HTTP status the gateway answers with; `retryable` says whether the same call may succeed later
 * without anybody changing it.
 */
export const errorCatalogue = {
  invalid_request: { status: 400, retryable: false },
  unauthorized: { status: 401, retryable: false },
  destination_refused: { status: 403, retryable: false },
  function_not_found: { status: 404, retryable: false },
  secret_not_found: { status: 404, retryable: false },
  call_not_found: { status: 404, retryable: false },
  not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  function_exists: { status: 409, retryable: false },
  secret_exists: { status: 409, retryable: false },
  secret_in_use: { status: 409, retryable: false },
  call_over: { status: 409, retryable: false },
  conflict: { status: 409, retryable: true },
  stream_gone: { status: 410, retryable: false },
  body_too_large: { status: 413, retryable: false },
  replica_busy: { status: 429, retryable: true },
  line_full: { status: 429, retryable: true },
  unprocessable: { status: 422, retryable: false },
  cancelled: { status: 499, retryable: false },
  internal: { status: 500, retryable: false },
  function_failed: { status: 500, retryable: false },
  start_failed: { status: 500, retryable: false },
  unsupported: { status: 501, retryable: false },
  function_unreachable: { status: 502, retryable: true },
  response_too_large: { status: 502, retryable: false },
  outcome_not_told: { status: 502, retryable: true },
  registry_unavailable: { status: 502, retryable: true },
  replica_lost: { status: 502, retryable: true },
  bus_unavailable: { status: 503, retryable: true },
  queue_full: { status: 503, retryable: true },
  no_replica: { status: 503, retryable: true },
  provider_unavailable: { status: 503, retryable: true },
  scaler_unavailable: { status: 503, retryable: true },
  deadline_exceeded: { status: 504, retryable: true },
  chain_too_long: { status: 508, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

/** A stable name of one row of the catalogue. */
export type ErrorCode = keyof typeof errorCatalogue;

/** Tells whether a string met on the bus is a code of this version's catalogue. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorCatalogue, text);

/** An error of the platform: its code decides status and retry, its message is for a person to act on. */
export class BuskerError extends Error {
  override readonly name = "BuskerError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** The HTTP status of this error's code. */
  get status(): number {
    return errorCatalogue[this.code].status;
  }

  /** Whether the same call may succeed later without anybody changing it. */
  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }
}
