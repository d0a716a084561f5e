import type { FunctionRecord, FunctionStatusRecord, ReplicaRecord } from "../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import type { ReplicaState } from "../../schemas/subjects.ts";
import { type BackOff, stableMs } from "./back-off.ts";
import type { Sleep } from "./sleep.ts";
import { followStart, type SlowStart, stepOfStart } from "./slow-start.ts";

/** A replica as this provider sees it. */
export interface ReplicaView extends FunctionName {
  readonly id: string;
  readonly revision: string;
  readonly startedMs: number;
  /** The function's timeout: how long it may take to stop. */
  readonly timeoutMs: number;
  state: ReplicaState;
  /** When it came into its state, milliseconds since the epoch. */
  sinceMs: number;
  /** It was told to stop. */
  stopping: boolean;
  /** It is to be frozen; how far that has come is in `sleep`. */
  asleep: boolean;
  /** It is not to sleep any longer: what it holds is wanted elsewhere. */
  evicted: boolean;
  readonly sleep: Sleep;
  /** When it was ready for the first time. */
  readyMs: number | undefined;
  /** It has announced its end itself; why, where it said so. */
  lastWords: { readonly reason: string | undefined } | undefined;
  /** The machine that it runs on, where there are several. */
  node?: string | undefined;
  /** Ends it when it does not stop in time. */
  killTimer: NodeJS.Timeout | undefined;
}

/** What happened to a replica. */
export type ReplicaNews =
  | { readonly kind: "ready"; readonly replica: ReplicaView }
  | {
      readonly kind: "exited";
      readonly replica: ReplicaView;
      readonly reason: string;
      /** It has not even begun, and the fault is in what was deployed. */
      readonly isRefused: boolean;
    }
  /** No replica of this revision can be started. */
  | { readonly kind: "refused"; readonly revision: string; readonly reason: string };

/** The last crash of a function, or a start that takes long. */
export interface Problem {
  readonly message: string;
  readonly atMs: number;
}

/** All that is known of one function: the wish, its replicas, and how its starts went. */
export class FunctionState {
  readonly name: FunctionName;
  readonly key: string;
  /** The wish; undefined when the function is removed. */
  record: FunctionRecord | undefined;
  /** Revision of the bucket's entry that was taken last, removals included. */
  entryRevision = 0;
  /** The bucket has told of the removal itself: no older value can come any more. */
  isRemoved = false;
  /** As many replicas are wanted by callers now, whatever the record says; 0: none. */
  demanded = 0;
  backOff: BackOff | undefined;
  problem: Problem | undefined;
  /** Why the function is not as wished though none of its replicas has failed; its backend says so again and again. */
  blocked: Problem | undefined;
  /** Plans again though nothing happens. */
  timer: NodeJS.Timeout | undefined;
  readonly #replicas = new Map<string, ReplicaView>();
  #starting: SlowStart | undefined;
  #slowness: Problem | undefined;
  readonly #listeners = new Set<(news: ReplicaNews) => void>();

  constructor(name: FunctionName) {
    this.name = name;
    this.key = formatFunctionName(name);
  }

  get replicas(): readonly ReplicaView[] {
    return [...this.#replicas.values()];
  }

  /** Replicas that answer. */
  get available(): number {
    return this.replicas.filter((replica) => replica.state === "ready").length;
  }

  /** The record with what callers want added: the record itself follows, once it is written. */
  get wish(): FunctionRecord | undefined {
    const { record, demanded } = this;
    return record && record.replicas < demanded ? { ...record, replicas: demanded } : record;
  }

  /** Neither wished for nor running. */
  get isOver(): boolean {
    return this.record === undefined && this.#replicas.size === 0;
  }

  find(id: string): ReplicaView | undefined {
    return this.#replicas.get(id);
  }

  add(replica: ReplicaView): void {
    this.#replicas.set(replica.id, replica);
  }

  /** Notes a state that a replica has announced or was found in. */
  enter(replica: ReplicaView, state: ReplicaState, nowMs: number): void {
    if (replica.state === state || replica.state === "exited") return;
    // One that was told to stop or to freeze may still announce that it is ready: nobody is to be sent there.
    if (state === "ready" && (replica.stopping || replica.asleep)) return;
    replica.state = state;
    replica.sinceMs = nowMs;
    if (state !== "ready") return;
    replica.readyMs ??= nowMs;
    this.#tell({ kind: "ready", replica });
  }

  /** Notes that a replica is to freeze: from now on nobody is sent there. */
  putToSleep(replica: ReplicaView, nowMs: number): void {
    replica.asleep = true;
    this.enter(replica, "draining", nowMs);
  }

  /** Strikes out a replica that has ended, or was refused. */
  strike(replica: ReplicaView, reason: string, isRefused = false): void {
    this.#replicas.delete(replica.id);
    this.#tell({ kind: "exited", replica, reason, isRefused });
  }

  /** Notes that no replica of a revision can be started, for who waits for one. */
  refuse(revision: string, reason: string): void {
    this.#tell({ kind: "refused", revision, reason });
  }

  /** Calls `listener` for all news from now on. Gives a function that takes it away. */
  onNews(listener: (news: ReplicaNews) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Forgets failures once a replica of this revision has worked for long enough and none has failed since the last next
   * try; gives when that will be, if not yet. One replica that works says nothing of those that fail beside it.
   */
  forgetFailures(nowMs: number): number | undefined {
    if (!this.problem) return undefined;
    const ready = this.replicas.filter(
      (replica) => replica.state === "ready" && replica.revision === this.record?.revision,
    );
    if (ready.length === 0) return undefined;
    const lastTryMs = this.backOff?.nextTryAtMs ?? this.problem.atMs;
    const stableAtMs = Math.max(lastTryMs, Math.min(...ready.map((replica) => replica.sinceMs))) + stableMs;
    if (nowMs < stableAtMs) return stableAtMs;
    this.backOff = undefined;
    this.problem = undefined;
    return undefined;
  }

  /** Notes how long a first replica is being waited for; gives when to look again, while one is. */
  noteSlowStart(nowMs: number): number | undefined {
    this.#starting = followStart(this.#starting, this.record?.revision, this.replicas, nowMs);
    this.#slowness = undefined;
    if (!this.#starting) return undefined;
    const { waitedMs, nextMs } = stepOfStart(this.#starting, nowMs);
    const which = this.available > 0 ? "no replica of the newest update" : "no replica";
    const message = `${which} is ready yet: starting for ${waitedMs / 1000} s`;
    if (waitedMs > 0) this.#slowness = { message, atMs: this.#starting.sinceMs + waitedMs };
    return nextMs;
  }

  /** What the bucket `status` shows; `warnings` are what its backend does not do of the wish, `cores` what it has. */
  toStatus(warnings: readonly string[] = [], cores?: number): FunctionStatusRecord {
    const status = {
      replicas: this.replicas.map(toReplicaRecord),
      ...(warnings.length === 0 ? {} : { warnings }),
      ...(cores === undefined ? {} : { cores }),
    };
    const problem = this.problem ?? this.blocked ?? this.#slowness;
    if (!problem) return status;
    const { message, atMs } = problem;
    const nextTryAt = this.backOff ? { nextTryAt: toTime(this.backOff.nextTryAtMs) } : {};
    return { ...status, problem: { message, at: toTime(atMs), failures: this.backOff?.failures ?? 0, ...nextTryAt } };
  }

  #tell(news: ReplicaNews): void {
    for (const listener of this.#listeners) listener(news);
  }
}

const toTime = (ms: number): string => new Date(ms).toISOString();

const toReplicaRecord = ({ id, state, revision, sinceMs, node }: ReplicaView): ReplicaRecord => ({
  id,
  state,
  revision,
  since: toTime(sinceMs),
  ...(node === undefined ? {} : { node }),
});
