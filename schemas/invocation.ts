/*
 * What travels in an invocation and its reply, besides the CloudEvents attributes (`ce-*` headers, binary mode).
 * All headers are optional in a request: `nats request busker.invoke.<ns>.<fn> hello` is a valid invocation.
 */

/** Names of Busker's own NATS headers. */
export const wireHeaders = {
  /** The HTTP head as JSON: `RequestHead` in a request, `ResponseHead` in a reply. */
  http: "Busker-Http",
  /** Absolute deadline of a call, milliseconds since the epoch. */
  deadline: "Busker-Deadline",
  /**
   * In a reply: `<in flight>/<slots>`, the replica's own count after this call, slots held for other callers included;
   * `slots` is 0 when unlimited. A third part, `/offer`, says that this caller's reservation has come up: the slot just
   * freed is held for it.
   */
  load: "Busker-Load",
  /** In a reply made by the platform and not by the function: a code of the error catalogue. */
  error: "Busker-Error",
  /** In a request that was passed on by a full replica: how often it was. */
  hops: "Busker-Hops",
} as const;

/** The head of an HTTP request as a function sees it. */
export interface RequestHead {
  readonly method: string;
  /** Rest of the path below the function's name with its query, beginning with `/`, exactly as the client sent it. */
  readonly path: string;
  /** Names and values in turn, in the order sent: `["Accept", "text/html", …]`. */
  readonly headers: readonly string[];
}

/** The head of a function's HTTP response; headers as in `RequestHead`. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: readonly string[];
}

/** The head of an invocation that came without one. */
export const defaultRequestHead: RequestHead = { method: "POST", path: "/", headers: [] };

/** What is told a replica on its control subject, as JSON. */
export type ReplicaControl =
  /** Finish what is in flight, take nothing new, exit. */
  | { readonly kind: "drain" }
  /** The caller no longer wants this call's answer. */
  | { readonly kind: "cancel"; readonly callId: string }
  /** Are you there? Answered with a `ReplicaLoad`; a replica that is gone is "no responders". */
  | { readonly kind: "ping" }
  /**
   * Offer me one slot when you have one, at this message's reply subject. My oldest call waits since `since`,
   * milliseconds since the epoch: the longest waiting caller comes first.
   */
  | { readonly kind: "reserve"; readonly since: number }
  /** I no longer wait, and do not want the slot you hold for me. Its reply subject is the one that reserved. */
  | { readonly kind: "withdraw" };

/** A replica's own count, in answer to a ping and with an offer. A slot held for a caller counts as in flight. */
export interface ReplicaLoad {
  readonly replica: string;
  readonly inFlight: number;
  readonly slots: number;
}

/** How long a replica holds an offered slot for a caller, in milliseconds; then it counts as withdrawn. */
export const offerHoldMs = 250;
