import type { Msg } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import type { EventData } from "../../schemas/events.ts";
import type { ReplicaControl, RequestHead } from "../../schemas/invocation.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { demandSubject, parseReplicaSubject, replicaAnyFilter } from "../../schemas/subjects.ts";
import type { BodySink } from "./body-sender.ts";
import type { Bus } from "./connection.ts";
import { publishEvent } from "./events.ts";
import { FunctionCalls } from "./function-calls.ts";
import type { CallCounts, CallResult, CallTransport, LineLimits, OpenCall, SideMessages } from "./open-call.ts";
import { headerBytes } from "./headers.ts";
import { encodeRequest } from "./invocation-wire.ts";
import { openReplyInbox } from "./reply-inbox.ts";
import { WindowShare } from "./window-share.ts";

export type { CallCounts } from "./open-call.ts";

/** One synchronous invocation. */
export interface Invocation {
  readonly function: FunctionName;
  /** The one id of this call: `ce-id`, `X-Call-Id`. */
  readonly callId: string;
  readonly head: RequestHead;
  readonly contentType?: string | undefined;
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
  readonly body: Uint8Array;
  /** Milliseconds since the epoch: the one deadline every hop obeys. */
  readonly deadlineMs: number;
  /** Whether `done` takes a result of kind "streaming"; else the answer comes whole, however long it takes. */
  readonly canStream?: boolean;
  /** An answer that is a stream of events shall be kept: its head names the id, and its body is to be read there. */
  readonly keepsEvents?: boolean;
  /** The caller keeps a record of the call (a durable one), so that the replica puts it on none. */
  readonly isRecorded?: boolean;
  /** `body` is only the beginning: called once, with where to write the rest, when a replica has taken the call. */
  readonly upload?: ((sink: BodySink) => void) | undefined;
  /** Called when the call is sent to a replica; again when it went back to the line and is sent to another. */
  readonly onBound?: ((replica: string) => void) | undefined;
}

/** How much more of one function a caller may begin. */
export interface Capacity {
  /** Free slots as this caller knows them; a replica without a limit counts as having 50. */
  readonly free: number;
  /** This caller's calls in replicas, but for those that it has cancelled. */
  readonly inFlight: number;
  /** This caller's calls in line for a slot. */
  readonly waiting: number;
  readonly readyReplicas: number;
}

const noCapacity: Capacity = { free: 0, inFlight: 0, waiting: 0, readyReplicas: 0 };

/**
 * The invocation client: the one way platform services and TypeScript programs call functions. It knows which replicas
 * are ready and binds each call to a free slot (design §3).
 */
export interface Invoker {
  /**
   * Starts a call; `done` is called exactly once with its end, unless the call is cancelled by the function returned.
   * Never throws: what goes wrong is a result of kind "failed".
   */
  readonly invoke: (invocation: Invocation, done: (result: CallResult) => void) => () => void;
  readonly counts: (name: FunctionName) => CallCounts;
  /** Nothing is known of a function that was not called yet: it has no capacity until its first call has found its replicas. */
  readonly capacity: (name: FunctionName) => Capacity;
  /**
   * Calls `listener` whenever a function's capacity may have grown: within what made it grow, so it does little. There is one
   * listener.
   */
  readonly onCapacity: (listener: (name: FunctionName) => void) => void;
  /** Messages sent beside requests and replies since the start. */
  readonly sideMessages: () => SideMessages;
  readonly close: () => void;
}

/** Settings of an invocation client. */
export interface InvokerOptions {
  readonly limits?: LineLimits;
  readonly random?: () => number;
  /** A call has been put in line, as the last of so many. */
  readonly onParked?: (name: FunctionName, waiting: number) => void;
}

const defaultLimits: LineLimits = { maxCalls: 10_000, maxBytes: 256 * 1024 * 1024 };
// Deadlines and silences are looked at this often: one coarse timer, not one a call.
const tickMs = 50;

// A reason is there when it did not end on a wish; calls that were still in it were cut.
const onEnd = (calls: FunctionCalls, id: string, { reason, inFlight }: EventData["io.busker.replica.exited"]): void =>
  reason === undefined && inFlight === 0 ? calls.onDrained(id) : calls.onExited(id, reason);

const followReplicas = (bus: Bus, find: (name: FunctionName) => FunctionCalls | undefined): (() => void) => {
  const subscription = bus.nc.subscribe(replicaAnyFilter, {
    callback: (error, message: Msg) => {
      const replica = error ? undefined : parseReplicaSubject(message.subject);
      const calls = replica && find(replica);
      if (!replica || !calls) return;
      const data = message.json<EventData["io.busker.replica.ready"]>();
      if (replica.state === "ready") calls.onReady(replica.replica, data.slots, data.inFlight);
      else if (replica.state === "exited") onEnd(calls, replica.replica, data);
      else if (replica.state !== "starting") calls.onDraining(replica.replica);
    },
  });
  return () => subscription.unsubscribe();
};

/** Opens an invocation client on a connection; it ends with `close`, failing nothing that was not begun. */
export const openInvoker = (bus: Bus, options: InvokerOptions = {}): Invoker => {
  const inbox = openReplyInbox(bus);
  const functions = new Map<string, FunctionCalls>();
  const windows = new WindowShare();
  let moved: ((name: FunctionName) => void) | undefined;
  const transportOf = (name: FunctionName, replies = inbox.forFunction(name)): CallTransport => ({
    request: (subject, headers, payload, listener) => {
      const { token, subject: reply } = replies.expect(listener);
      bus.nc.publish(subject, payload, { headers, reply });
      return token;
    },
    control: (subject, message: ReplicaControl, reply) =>
      bus.nc.publish(subject, JSON.stringify(message), reply === undefined ? {} : { reply }),
    frame: (subject, headers, payload) => bus.nc.publish(subject, payload, { headers }),
    windows,
    forget: replies.forget,
    standingReply: replies.expect,
    demand: (waiting, reply) =>
      publishEvent(bus, {
        subject: demandSubject(name.namespace, name.name),
        type: "io.busker.demand",
        data: { waiting },
        reply,
      }),
    parked: (waiting) => options.onParked?.(name, waiting),
    moved: () => moved?.(name),
    nowMs: Date.now,
    random: options.random ?? Math.random,
  });
  const open = (name: FunctionName): FunctionCalls => {
    const key = formatFunctionName(name);
    const known = functions.get(key);
    if (known) return known;
    const calls = new FunctionCalls(name, transportOf(name), options.limits ?? defaultLimits);
    functions.set(key, calls);
    return calls;
  };
  const find = (name: FunctionName): FunctionCalls | undefined => functions.get(formatFunctionName(name));
  const unfollow = followReplicas(bus, find);
  const unlisten = bus.onChange((connected) => {
    if (!connected) for (const calls of functions.values()) calls.onDisconnected();
  });
  const timer = setInterval(() => {
    for (const calls of functions.values()) calls.tick();
  }, tickMs).unref();
  return {
    invoke: (invocation, done) => startCall({ bus, windows }, open(invocation.function), invocation, done),
    counts: (name) => find(name)?.counts() ?? { waiting: 0, oldestWaitMs: 0, inFlight: 0, readyReplicas: 0 },
    capacity: (name) => {
      const calls = find(name);
      if (!calls) return noCapacity;
      const { free, wanted: inFlight, waiting, readyReplicas } = calls;
      return { free, inFlight, waiting, readyReplicas };
    },
    onCapacity: (listener) => {
      moved = listener;
    },
    sideMessages: () => sumSideMessages([...functions.values()].map((calls) => calls.side)),
    close: () => {
      clearInterval(timer);
      unlisten();
      unfollow();
      inbox.close();
    },
  };
};

const sumSideMessages = (all: readonly SideMessages[]): SideMessages => {
  const sum: SideMessages = { reserve: 0, withdraw: 0, offer: 0, busy: 0 };
  for (const side of all) for (const kind of ["reserve", "withdraw", "offer", "busy"] as const) sum[kind] += side[kind];
  return sum;
};

const assertFits = (bus: Bus, bytes: number): void => {
  const most = bus.nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
  if (bytes > most)
    throw new BuskerError(
      "body_too_large",
      `body and headers are ${bytes} bytes together; one message holds at most ${most}`,
    );
};

const startCall = (
  { bus, windows }: { readonly bus: Bus; readonly windows: WindowShare },
  calls: FunctionCalls,
  invocation: Invocation,
  done: (result: CallResult) => void,
): (() => void) => {
  try {
    bus.assertConnected();
    const windowBytes = invocation.canStream ? windows.next() : 0;
    const headers = encodeRequest({
      callId: invocation.callId,
      source: bus.source,
      head: invocation.head,
      contentType: invocation.contentType,
      traceparent: invocation.traceparent,
      tracestate: invocation.tracestate,
      deadlineMs: invocation.deadlineMs,
      windowBytes: windowBytes === 0 ? undefined : windowBytes,
      isStreamed: invocation.upload !== undefined,
      keepsEvents: invocation.keepsEvents === true,
      isRecorded: invocation.isRecorded === true,
    });
    assertFits(bus, headerBytes(headers) + invocation.body.length);
    const call: OpenCall = {
      callId: invocation.callId,
      headers,
      body: invocation.body,
      deadlineMs: invocation.deadlineMs,
      sinceMs: Date.now(),
      done,
      windowBytes,
      upload: invocation.upload,
      onBound: invocation.onBound,
      keepsEvents: invocation.keepsEvents === true,
      isKept: false,
      isUpgrade: invocation.head.upgrade !== undefined,
      stream: undefined,
      abandoned: false,
      bagIndex: -1,
      place: undefined,
      bound: undefined,
    };
    calls.add(call);
    return () => calls.cancel(call);
  } catch (cause) {
    const error =
      cause instanceof BuskerError ? cause : new BuskerError("internal", "the call could not be sent", { cause });
    done({ kind: "failed", error });
    return () => {};
  }
};
