import { BuskerError } from "./errors.ts";

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
  /** In a request: the caller takes a streamed answer, and grants its first credit, in bytes. */
  window: "Busker-Window",
  /** In a request, always `stream`: its payload is only the beginning of the body. */
  body: "Busker-Body",
  /** Of a part of a streamed body: `<kind> <number>`, see `FrameKind`. A message without it is a whole reply. */
  frame: "Busker-Frame",
  /** In a replica's first frame: where the caller's own frames of this call go. */
  inbox: "Busker-Inbox",
  /** In a request, always `events`: an answer that is a stream of events shall be kept, so that its readers may come back. */
  keep: "Busker-Keep",
  /** In a request, always `elsewhere`: its caller keeps a record of the call, so that the replica puts it on none. */
  recorded: "Busker-Recorded",
  /** In a replica's first frame, and in the HTTP response: the id under which the answer is kept; it has no data here. */
  stream: "Busker-Stream",
  /** Of an accepted durable invocation: what is known of it besides the request, as JSON. */
  durable: "Busker-Durable",
  /** Of a call's record: its state, so that a reader of headers alone knows it. */
  state: "Busker-State",
  /** Of a call's record: `<bytes of JSON> <bytes of request body> <bytes of response body>`, which the payload holds in turn. */
  layout: "Busker-Layout",
  /** Of a dead call's record: what a list shows of it, as JSON. */
  brief: "Busker-Brief",
  /** Of an outcome to be told: an `OutcomeTarget` as JSON. */
  target: "Busker-Target",
  /** Of an outcome that was tried to be told: `<tries> <milliseconds since the epoch when the next is due>`. */
  tries: "Busker-Tries",
  /** In the head of a kept answer: the replica that it comes from. */
  replica: "Busker-Replica",
  /**
   * In each part of a durable call's response: who writes it. Another queue-worker that took the attempt for lost may write the same
   * one; its parts are not of this response.
   */
  writer: "Busker-Writer",
  /** Of a call's record: when it may go, milliseconds since the epoch. */
  expires: "Busker-Expires",
  /** Of a call's record: what it has elsewhere, which stays as long as the record: subjects of parts, names of objects. */
  elsewhere: "Busker-Elsewhere",
} as const;

/**
 * What travels when a body does not fit one message, or is not known as a whole yet. Each direction is numbered by
 * itself, so that a lost or doubled part is noticed, and each sender sends no more bytes than its receiver has granted.
 *
 * - `head 0`, from the replica: the head of the answer, its payload the body's first bytes.
 * - `data n`, n = 1, 2, 3 …: the next bytes.
 * - `end n`: the body is complete; the replica's last message of the call.
 * - `abort n`: the body will never be complete; `Busker-Error` and the payload say why. The last message, too.
 * - `credit total`: so many bytes in all may be sent, those in the request or the head included. Repeating it is harmless.
 * - `ping 0`, from the replica, its reply subject the call's inbox: is the caller still there?
 *
 * A WebSocket is the same thing: a streamed request with an empty beginning whose head has `upgrade`. When the answer's
 * head has status 101, the bytes of both directions after the two heads follow as they are, as `data` frames under
 * credit; no frame of the WebSocket protocol is looked at. The caller's `end` is its half of the connection closed, the
 * replica's is the end of the call. What the caller sends before it has the head waits at the replica, and is dropped
 * with every other status: then the call has been an ordinary one with an empty body.
 */
export const frameKinds = ["head", "data", "end", "abort", "credit", "ping"] as const;
export type FrameKind = (typeof frameKinds)[number];

/**
 * A kept answer (`busker.stream.…`) has the same frames: `head 0` on a subject of its own, then one event each in
 * `data 1`, `data 2` …, at last `end n` or `abort n`. Each event's id is `<id>.<n>`, and after a colon the function's own
 * id, where it has given one: what a reader names to go on behind it. Only the caller grants credit, see `keptLead`; who
 * else reads holds nobody up.
 */
export interface EventPosition {
  /** The kept answer's id. */
  readonly stream: string;
  /** The last event that the reader has; 0: none. */
  readonly number: number;
}

/** The id of an event of a kept answer, without the function's own. */
export const formatEventId = (stream: string, number: number): string => `${stream}.${number}`;

/**
 * Reads a `Last-Event-ID`: an event's id, or a kept answer's id alone. Undefined when it is none of Busker's; throws
 * `invalid_request` when it begins as one and does not go on as one: taken for the function's own, it would start a call.
 */
export const parseEventId = (text: string): EventPosition | undefined => {
  const match = /^([0-9a-f]{32})(?:\.(\d{1,15})(?::.*)?)?$/s.exec(text);
  if (match?.[1] !== undefined) return { stream: match[1], number: Number(match[2] ?? 0) };
  if (!/^[0-9a-f]{32}\./.test(text)) return undefined;
  throw new BuskerError(
    "invalid_request",
    "Last-Event-ID begins as an id of this platform, so it must be <stream>.<number>, where the function gives ids of its " +
      `own with a colon and that behind it, or the stream's id alone; got "${text.slice(0, 100)}"`,
  );
};

/**
 * How far a kept answer may be ahead of the client whose call it is, in bytes; an event counts as at least
 * `leastEventBytes`, so that it is 4,096 events at most, well below what is kept. `credit total` in the call's inbox says
 * how far the answer may go: what that client has taken, counted so, and these bytes. An answer begins with so much, and
 * the event that reaches the bound still goes out. A caller whose client has gone grants `unlimitedCredit`.
 */
export const keptLead = { bytes: 8 * 1024 * 1024, leastEventBytes: 2048 } as const;

/** What an event of so many bytes counts for, where the lead of a kept answer is counted. */
export const countKeptEvent = (bytes: number): number => Math.max(bytes, keptLead.leastEventBytes);

/** Nobody is waited for any more. */
export const unlimitedCredit = Number.MAX_SAFE_INTEGER;

/** After so long without more credit a kept answer goes on as if its caller's client had gone, in milliseconds. */
export const keptPatienceMs = 10_000;

/** How long after its call's deadline a kept answer may still have no end, in milliseconds; then it has none. */
export const keptGraceMs = 5000;

/** Most bytes of one event of a kept answer. */
export const maxEventBytes = 256 * 1024;

/**
 * Most bytes of payload in one frame. A longer one costs nats-server more, because it comes in several reads and is put
 * together: 2.6 ms of CPU per MB at 64 KiB, 2.0 at 32 KiB, 1.7 at 16 KiB, which in turn costs the other processes more.
 */
export const maxFrameBytes = 32 * 1024;

/** Bodies up to this size travel in one message when they are there in time. */
export const maxWholeBytes = 256 * 1024;

/** "In time": how long an answer that has begun is waited for, so that it travels whole, in milliseconds. */
export const wholeWaitMs = 3;

/**
 * Windows in bytes: what all streams of one process may have on the way together, the least of one stream, what it begins
 * with and what it grows to while its reader is fast and the others leave room.
 */
export const windowBytes = {
  all: 32 * 1024 * 1024,
  least: 64 * 1024,
  first: 1024 * 1024,
  most: 8 * 1024 * 1024,
} as const;

/** How often a replica asks whether the caller of an open stream is still there, in milliseconds. */
export const streamPingMs = 1000;

/** The head of an HTTP request as a function sees it. */
export interface RequestHead {
  readonly method: string;
  /** Rest of the path below the function's name with its query, beginning with `/`, exactly as the client sent it. */
  readonly path: string;
  /** Names and values in turn, in the order sent: `["Accept", "text/html", …]`. */
  readonly headers: readonly string[];
  /** The caller would have this request's connection become a WebSocket. Only of a streamed request. */
  readonly upgrade?: "websocket";
}

/** The head of a function's HTTP response; headers as in `RequestHead`. Status 101 only in answer to an `upgrade`. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: readonly string[];
}

/** The head of an invocation that came without one. */
export const defaultRequestHead: RequestHead = { method: "POST", path: "/", headers: [] };

/** What the provider tells a replica on its order subject, as JSON. */
export type ReplicaOrder =
  /** Finish what is in flight, take nothing new, exit. */
  | { readonly kind: "drain" }
  /**
   * Finish what is in flight, take nothing new, give up every subscription but the one of orders, announce `frozen` with
   * this number. Then nothing is sent to this replica any more, and it may be paused.
   */
  | { readonly kind: "freeze"; readonly number: number }
  /** Take calls again, and announce `ready`: also in answer to `freeze` under way, and to one that is ready. */
  | { readonly kind: "resume" }
  /**
   * The user JWT that follows the one in use, for the same key: the key itself never travels. Of use to a replica that
   * keeps its credentials in memory.
   */
  | { readonly kind: "renew"; readonly jwt: string }
  /**
   * A secret's newer value, for a replica that got its secrets with its launch: `box` opens with the launch's key, for this
   * replica, name and version only. A version that is not newer than what the replica has is without effect.
   */
  | ({ readonly kind: "secret" } & SecretOrder);

/** A value of a secret for one replica, closed. */
export interface SecretOrder {
  readonly name: string;
  readonly version: number;
  /** Nonce, ciphertext and tag of AES-256-GCM, in base64. */
  readonly box: string;
}

/** What callers tell a replica on its control subject, as JSON. */
export type ReplicaControl =
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
