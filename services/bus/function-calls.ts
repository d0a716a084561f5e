import type { Msg } from "nats";
import { BuskerError } from "../../schemas/errors.ts";
import { type ReplicaLoad, wireHeaders } from "../../schemas/invocation.ts";
import type { FunctionName } from "../../schemas/names.ts";
import { Bag } from "./bag.ts";
import { badFrame, inSeconds, lost, overdue, readAnswer, readReply } from "./call-ends.ts";
import { CallStream } from "./call-stream.ts";
import { decodeFrame, type Frame, isFrame } from "./frames.ts";
import { headerStatus, headerText, headerValue } from "./headers.ts";
import type { ReceivedReply } from "./invocation-wire.ts";
import { Line } from "./line.ts";
import type { CallCounts, CallResult, CallTransport, LineLimits, OpenCall, SideMessages } from "./open-call.ts";
import { Reservations } from "./reservations.ts";
import { freeSlots, plannedSlots, type ReplicaSlots, SlotTable } from "./slot-table.ts";

// A replica that holds calls and has said nothing for this long is asked whether it is still there.
const silenceMs = 1000;
// The replica's own answer to an overrun comes first, if it lives: it frees the slot in the same message.
const deadlineGraceMs = 200;
// Somebody may have missed the first demand: a message to nobody is lost.
const demandEveryMs = 500;

/**
 * The calls of one function from one caller: bound only to a free slot, else waiting in line, first in first out, until
 * a slot frees (late binding). When other callers share the replicas, waiting calls leave reservations (Ousterhout et
 * al., Sparrow, SOSP 2013): a replica offers a freed slot to the caller that has waited longest.
 */
export class FunctionCalls {
  readonly function: FunctionName;
  readonly side: SideMessages = { reserve: 0, withdraw: 0, offer: 0, busy: 0 };
  readonly #transport: CallTransport;
  readonly #limits: LineLimits;
  readonly #table: SlotTable;
  readonly #line = new Line<OpenCall>();
  readonly #bound = new Bag<OpenCall>();
  readonly #reservations: Reservations;
  readonly #standing: { readonly token: number; readonly subject: string };
  #lineBytes = 0;
  /** Of the latest call sent: tells which of two was sent first. */
  #sequence = 0;
  #demandedMs = 0;
  /** Calls in replicas that nobody waits for any more. */
  #abandoned = 0;

  constructor(name: FunctionName, transport: CallTransport, limits: LineLimits) {
    this.function = name;
    this.#transport = transport;
    this.#limits = limits;
    this.#table = new SlotTable(name.namespace, name.name);
    this.#standing = transport.standingReply((message) => this.#onSideReply(message));
    this.#reservations = new Reservations(transport, this.#table, this.side, this.#standing.subject);
  }

  /** Calls in line. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Calls in replicas. */
  get inFlight(): number {
    return this.#bound.size;
  }

  /** Replicas that are ready. */
  get readyReplicas(): number {
    return this.#table.list.length;
  }

  /** All of these, and how long the first in line has waited. */
  counts(): CallCounts {
    const { waiting, inFlight, readyReplicas } = this;
    const { first } = this.#line;
    const oldestWaitMs = first ? Math.max(0, this.#transport.nowMs() - first.sinceMs) : 0;
    return { waiting, oldestWaitMs, inFlight, readyReplicas };
  }

  /** Calls in replicas that somebody waits for. */
  get wanted(): number {
    return this.#bound.size - this.#abandoned;
  }

  /** Slots free in all replicas, as far as this caller knows. */
  get free(): number {
    return this.#table.list.reduce((sum, replica) => sum + plannedSlots(replica), 0);
  }

  /** Nothing is known and nothing is asked: this object may be dropped. */
  get isIdle(): boolean {
    return this.#line.length === 0 && this.#bound.size === 0 && this.#table.list.length === 0;
  }

  /** Binds the call to a free slot or puts it in line; a full line fails it with `line_full`. */
  add(call: OpenCall): void {
    const replica = this.#line.length === 0 ? this.#table.choose(this.#transport.random) : undefined;
    if (replica) return this.#bind(call, replica);
    if (this.#line.length >= this.#limits.maxCalls || this.#lineBytes + call.body.length > this.#limits.maxBytes)
      return call.done({ kind: "failed", error: this.#lineFull() });
    call.place = this.#line.push(call);
    this.#lineBytes += call.body.length;
    this.#transport.parked(this.#line.length);
    this.#askForSlots();
  }

  /** The caller gave up: a waiting call leaves the line, a running one is stopped in its replica. */
  cancel(call: OpenCall): void {
    if (call.abandoned) return;
    call.abandoned = true;
    call.stream?.close();
    if (call.place?.inLine) this.#leaveLine(call);
    else if (call.bound) {
      this.#abandoned += 1;
      this.#transport.control(call.bound.replica.controlSubject, { kind: "cancel", callId: call.callId });
    }
    this.#withdrawWhenNobodyWaits();
    this.#transport.moved();
  }

  /** A replica announced itself. */
  onReady(id: string, slots: number, inFlight: number): void {
    const known = this.#table.find(id);
    const replica = this.#table.enter(id, slots, Math.max(0, inFlight - (known?.mine ?? 0)), this.#transport.nowMs());
    // The demand was met: the next want is a new one, and need not wait for the old one's turn.
    this.#demandedMs = 0;
    this.#pump(replica);
  }

  /** A replica takes no new calls; those in it go on. */
  onDraining(id: string): void {
    this.#strike(id);
  }

  /** A replica is gone: the calls in it fail now, not at their deadlines. */
  onExited(id: string, reason: string | undefined): void {
    this.#strike(id);
    const now = this.#transport.nowMs();
    for (const call of this.#bound.snapshot())
      if (call.bound?.replica.id === id)
        // A handler that loops takes its replica with it when it is cut: that call's own end is its deadline.
        this.#finish(call, { kind: "failed", error: now >= call.deadlineMs ? overdue(call) : lost(id, reason) });
  }

  /**
   * A replica has ended on a wish, with nothing in it: what it did not answer it never took, having ended before it read
   * it. Those calls go on elsewhere.
   */
  onDrained(id: string): void {
    this.#strike(id);
    const bound = [...this.#bound.snapshot()].filter((call) => call.bound?.replica.id === id);
    for (const call of bound)
      // A call that it did take, and whose end never came, cannot be repeated.
      if (call.stream) this.#finish(call, { kind: "failed", error: lost(id, undefined) });
      else this.#release(call, false);
    // Back in reverse, so that the oldest stands first.
    for (const call of bound.toReversed()) if (!call.stream) this.#backToHead(call);
  }

  /** The server was away: what was sent may be lost, and what is known may be old. */
  onDisconnected(): void {
    const error = new BuskerError("bus_unavailable", "the connection to the bus broke during the call");
    for (const replica of this.#table.list) this.#strike(replica.id);
    for (const call of this.#bound.snapshot()) this.#finish(call, { kind: "failed", error });
    for (const call of this.#line) this.#fail(call, error);
  }

  /** Called every few dozen milliseconds: deadlines, silent replicas, unanswered demand. */
  tick(): void {
    const now = this.#transport.nowMs();
    for (const call of this.#line)
      if (now >= call.deadlineMs) this.#fail(call, this.#overdueInLine(now - call.sinceMs));
    for (const call of this.#bound.snapshot())
      if (now >= call.deadlineMs + deadlineGraceMs) this.#finish(call, { kind: "failed", error: overdue(call) });
    for (const replica of this.#table.list) this.#pingWhenSilent(replica, now);
    if (this.#line.length > 0) this.#askForSlots();
  }

  /** Lets go of the reply subject. */
  close(): void {
    this.#transport.forget(this.#standing.token, false);
  }

  #bind(call: OpenCall, replica: ReplicaSlots, waitedMs = 0): void {
    const token = this.#transport.request(replica.subject, call.headers, call.body, (message) =>
      this.#onReply(call, message),
    );
    call.place = undefined;
    call.bound = { replica, token, sequence: (this.#sequence += 1), waitedMs };
    replica.mine += 1;
    if (replica.mine === 1) replica.heardMs = this.#transport.nowMs();
    this.#bound.add(call);
    call.onBound?.(replica.id);
  }

  #release(call: OpenCall, isAnswered: boolean): ReplicaSlots | undefined {
    if (!call.bound) return undefined;
    const { replica, token } = call.bound;
    this.#transport.forget(token, isAnswered);
    this.#bound.remove(call);
    if (call.abandoned) this.#abandoned -= 1;
    replica.mine -= 1;
    call.bound = undefined;
    return replica;
  }

  #finish(call: OpenCall, result: CallResult): void {
    const replica = this.#release(call, false);
    if (call.stream && replica && !call.isKept)
      // The replica may be well and sending: it is told that nobody listens.
      this.#transport.control(replica.controlSubject, { kind: "cancel", callId: call.callId });
    this.#settle(call, result);
    // No reply comes any more that would hand its slot on. If the replica has not freed it yet, it says so.
    if (replica && this.#table.find(replica.id) === replica) this.#pump(replica);
  }

  /** The end of a call, told once: a streamed answer's by its body, any other by its result. */
  #settle(call: OpenCall, result: CallResult): void {
    const { stream } = call;
    stream?.close();
    if (call.abandoned) return;
    if (!stream?.isAnswering) return call.done(result);
    if (result.kind === "failed") stream.fail(result.error);
  }

  #onReply(call: OpenCall, message: Msg): void {
    const headers = headerText(message);
    if (isFrame(headers)) return this.#onFrame(call, message, headers);
    const { sequence = 0, waitedMs = 0 } = call.bound ?? {};
    const replica = this.#release(call, true);
    if (!replica) return;
    if (headerStatus(headers) === 503) return this.#onNobodyThere(call, replica, sequence);
    const reply = readReply(headers);
    replica.heardMs = this.#transport.nowMs();
    this.#noteLoad(replica, reply);
    if (reply.error === "replica_busy" && !call.stream) return this.#onBusy(call, replica);
    call.stream?.close();
    if (!call.abandoned) call.done(readAnswer(call, waitedMs, reply, message.data));
    this.#useFreed(replica, reply);
  }

  #noteLoad(replica: ReplicaSlots, reply: ReceivedReply): void {
    if (reply.slots !== 0 || reply.inFlight !== 0) {
      replica.slots = reply.slots;
      replica.others = Math.max(0, reply.inFlight - replica.mine);
    }
    if (reply.offer) this.#reservations.forget(replica);
  }

  #useFreed(replica: ReplicaSlots, reply: ReceivedReply): void {
    if (reply.offer && this.#line.length === 0) this.#reservations.withdraw(replica);
    this.#pump(replica);
  }

  #onFrame(call: OpenCall, message: Msg, headers: string): void {
    const replica = call.bound?.replica;
    const frame = decodeFrame(headers);
    if (!replica) return;
    replica.heardMs = this.#transport.nowMs();
    if (!frame) return this.#finish(call, { kind: "failed", error: badFrame(replica.id) });
    if (frame.kind === "ping") return;
    try {
      call.stream ??= new CallStream(call, replica.subject, this.#transport, headers);
      if (frame.kind === "end" || frame.kind === "abort") return this.#onLastFrame(call, frame, message, headers);
      if (frame.kind === "head") return this.#onHead(call, call.stream, message, headers);
      if (!call.abandoned) call.stream.onFrame(frame, message.data);
    } catch (error) {
      const fault = error instanceof BuskerError ? error : new BuskerError("internal", String(error), { cause: error });
      this.#finish(call, { kind: "failed", error: fault });
    }
  }

  #onHead(call: OpenCall, stream: CallStream, message: Msg, headers: string): void {
    if (call.abandoned) return;
    const reply = readReply(headers, call.isUpgrade);
    call.isKept = call.keepsEvents && reply.stream !== undefined;
    const rest = stream.open(message.data.length, call.isKept);
    call.done({ kind: "streaming", reply, body: message.data, rest });
  }

  #onLastFrame(call: OpenCall, frame: Frame, message: Msg, headers: string): void {
    const error = call.abandoned ? undefined : call.stream?.endOf(frame, message, headers);
    // An end that was not due is not the replica's last message: it is stopped, and its reply subject not used again.
    if (error && frame.kind === "end") return this.#finish(call, { kind: "failed", error });
    const replica = this.#release(call, true);
    if (!replica) return;
    const load = readReply(headers);
    this.#noteLoad(replica, load);
    if (error) this.#settle(call, { kind: "failed", error });
    call.stream?.close();
    this.#useFreed(replica, load);
  }

  #onNobodyThere(call: OpenCall, replica: ReplicaSlots, sequence: number): void {
    this.#strike(replica.id);
    this.#backToHead(call);
    // Nothing more can come from there: what was sent before this one and is not answered never will be. What was sent
    // after it comes back in the same way.
    for (const other of this.#bound.snapshot())
      if (other.bound?.replica === replica && other.bound.sequence < sequence)
        this.#finish(other, { kind: "failed", error: lost(replica.id, undefined) });
  }

  #onBusy(call: OpenCall, replica: ReplicaSlots): void {
    this.side.busy += 1;
    // Full beyond doubt, whatever its count said: it may be draining.
    if (freeSlots(replica) > 0) replica.others = Math.max(1, replica.slots - replica.mine);
    this.#backToHead(call);
  }

  #backToHead(call: OpenCall): void {
    if (call.abandoned) return this.#withdrawWhenNobodyWaits();
    call.place = this.#line.unshift(call);
    this.#lineBytes += call.body.length;
    const next = this.#table.choose(this.#transport.random);
    if (next) this.#pump(next);
    else this.#askForSlots();
  }

  /** Gives what is free in one replica to who waits. */
  #pump(replica: ReplicaSlots): void {
    while (this.#line.length > 0 && freeSlots(replica) > 0) {
      const call = this.#line.first;
      if (!call) break;
      this.#leaveLine(call);
      this.#bind(call, replica, this.#transport.nowMs() - call.sinceMs);
    }
    this.#withdrawWhenNobodyWaits();
    this.#transport.moved();
  }

  #leaveLine(call: OpenCall): void {
    if (call.place && this.#line.leave(call.place)) this.#lineBytes -= call.body.length;
    call.place = undefined;
  }

  #fail(call: OpenCall, error: BuskerError): void {
    this.#leaveLine(call);
    if (!call.abandoned) call.done({ kind: "failed", error });
  }

  #askForSlots(): void {
    if (this.#table.list.length === 0) return this.#askForReplicas();
    this.#reservations.ask(this.#line.length, this.#line.first?.sinceMs ?? this.#transport.nowMs());
  }

  #withdrawWhenNobodyWaits(): void {
    if (this.#line.length === 0) this.#reservations.withdrawAll();
  }

  #askForReplicas(): void {
    const now = this.#transport.nowMs();
    if (now - this.#demandedMs < demandEveryMs) return;
    this.#demandedMs = now;
    this.#transport.demand(this.#line.length, this.#standing.subject);
  }

  #onSideReply(message: Msg): void {
    const headers = headerText(message);
    if (headerStatus(headers) === 503) return;
    if (headerValue(headers, wireHeaders.error) === "function_not_found") return this.#onNoSuchFunction();
    const load = message.json<ReplicaLoad & { readonly offer?: boolean }>();
    const replica = this.#table.find(load.replica);
    if (!replica) return;
    replica.heardMs = this.#transport.nowMs();
    if (load.offer === true) this.#onOffer(replica, load);
  }

  #onNoSuchFunction(): void {
    if (this.#table.list.length > 0) return;
    const { name, namespace } = this.function;
    const error = new BuskerError("function_not_found", `there is no function ${name}.${namespace}`);
    for (const call of this.#line) this.#fail(call, error);
  }

  #onOffer(replica: ReplicaSlots, load: ReplicaLoad): void {
    this.side.offer += 1;
    this.#reservations.forget(replica);
    replica.slots = load.slots;
    // The slot held for this caller counts as in flight over there, and is free here.
    replica.others = Math.max(0, load.inFlight - 1 - replica.mine);
    if (this.#line.length === 0) return this.#reservations.withdraw(replica);
    this.#pump(replica);
    if (this.#line.length > 0) this.#askForSlots();
  }

  #pingWhenSilent(replica: ReplicaSlots, now: number): void {
    if (replica.mine === 0 || now - replica.heardMs < silenceMs) return;
    replica.heardMs = now;
    this.#forgetPing(replica);
    const { token, subject } = this.#transport.standingReply((message) => {
      this.#forgetPing(replica);
      if (headerStatus(headerText(message)) === 503) this.onExited(replica.id, undefined);
    });
    replica.ping = token;
    this.#transport.control(replica.controlSubject, { kind: "ping" }, subject);
  }

  #forgetPing(replica: ReplicaSlots): void {
    if (replica.ping !== undefined) this.#transport.forget(replica.ping, false);
    replica.ping = undefined;
  }

  #strike(id: string): void {
    const replica = this.#table.strike(id);
    if (!replica) return;
    this.#reservations.forget(replica);
    this.#forgetPing(replica);
  }

  #lineFull(): BuskerError {
    const { name, namespace } = this.function;
    return new BuskerError(
      "line_full",
      `${this.#line.length} calls (${this.#lineBytes} bytes) already wait for ${name}.${namespace}; at most ${this.#limits.maxCalls} calls and ${this.#limits.maxBytes} bytes may`,
    );
  }

  #overdueInLine(waitedMs: number): BuskerError {
    const { name, namespace } = this.function;
    const waited = `the call waited in line for ${inSeconds(waitedMs)}, until its deadline`;
    return this.#table.list.length === 0
      ? new BuskerError("no_replica", `${waited}, and no replica of ${name}.${namespace} was ready`)
      : new BuskerError("deadline_exceeded", `${waited}, and no replica of ${name}.${namespace} had a free slot`);
  }
}
