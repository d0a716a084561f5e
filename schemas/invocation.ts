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
  /** In a reply: `<in flight>/<slots>`, the replica's own count after this call; `slots` is 0 when unlimited. */
  load: "Busker-Load",
  /** In a reply made by the platform and not by the function: a code of the error catalogue. */
  error: "Busker-Error",
  /** In a request that was passed on by a full replica: how often it was. */
  hops: "Busker-Hops",
  /** In a reservation: since when the caller's oldest call has waited, milliseconds since the epoch. */
  waiting: "Busker-Waiting",
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

/** What a caller tells a replica on its control subject. */
export type ReplicaControl =
  /** Finish what is in flight, take nothing new, exit. */
  | { readonly kind: "drain" }
  /** The caller no longer wants this call's answer. */
  | { readonly kind: "cancel"; readonly callId: string }
  /** Tell me (at this message's reply subject) when you have a slot for me; my oldest call waits since `since` (epoch ms). */
  | { readonly kind: "reserve"; readonly caller: string; readonly since: number }
  /** I no longer wait, or do not want the slot you hold for me. */
  | { readonly kind: "withdraw"; readonly caller: string };

/** What a replica tells a caller that had reserved: one slot is held for it until `untilMs` (epoch ms). */
export interface SlotOffer {
  readonly kind: "offer";
  readonly replica: string;
  readonly untilMs: number;
}
