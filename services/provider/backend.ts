import type { FunctionSpec } from "../../schemas/function.ts";
import type { FunctionName } from "../../schemas/names.ts";
import type { SecretName } from "../../schemas/secret.ts";

/** A replica to be started. */
export interface ReplicaStart {
  readonly id: string;
  readonly spec: FunctionSpec;
  readonly revision: string;
}

/** A replica of an earlier provider that still runs. */
export interface FoundReplica extends FunctionName {
  readonly id: string;
  readonly revision: string;
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  /** The function's timeout: how long it may take to stop. */
  readonly timeoutMs: number;
  /** It was told to stop. */
  readonly stopping: boolean;
  /** It is frozen: it has no call and no processor time. */
  readonly frozen: boolean;
}

/** How a replica ended. */
export interface ReplicaExit {
  readonly id: string;
  /** Both null for a replica that was adopted: nobody was there to be told. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Last words of the replica's own machinery, not of the function; empty when it had none. */
  readonly output: string;
  /** Why, where the backend knows better than the replica: an engine's own words. */
  readonly reason?: string;
}

/** What runs replicas: the provider's need of a container engine, or of plain processes. */
export interface Backend {
  /**
   * Fetches what a function of this spec runs from, so that a start need not wait for it. Throws `invalid_request` or
   * `unsupported` with a sentence for the one who deploys. It is not freed until the function that this gives is called.
   * `tell` is called with how far it is, a sentence each, where it takes a while.
   */
  readonly prepare: (spec: FunctionSpec, tell: (progress: string) => void) => Promise<() => void>;
  /** What a spec asks for and this backend does not do, a sentence each, for whoever looks at the function. */
  readonly listUnenforced: (spec: FunctionSpec) => readonly string[];
  /** Starts a replica; rejects when it could not even begin. Its end is told to `onExit`. */
  readonly start: (replica: ReplicaStart) => Promise<void>;
  /** Puts a secret's new value into the replicas that have it. */
  readonly renewSecret: (secret: SecretName) => void;
  /** Tells a replica to finish what it has and end; `kill` ends it at once, with all that it has started. */
  readonly stop: (id: string) => void;
  readonly kill: (id: string) => void;
  /**
   * Takes all processor time from a replica that has no call, and gives it back. Absent where that cannot be done. Rejects
   * with the reason; then the replica is as it was: one that could not be frozen is stopped, one that could not be thawed
   * (its credentials have run out) is killed. Never called twice at a time for one replica. `thaw` is where a call waits.
   */
  readonly freeze?: (id: string) => Promise<void>;
  readonly thaw?: (id: string) => Promise<void>;
  /**
   * Orders to this replica may have been lost while it was frozen: gives it again what it must know, before it takes
   * calls. Absent where a replica learns nothing by orders.
   */
  readonly catchUp?: (id: string) => void;
  /** Takes over the replicas of an earlier provider and clears up after those that are gone. To be called once. */
  readonly adopt: () => Promise<readonly FoundReplica[]>;
  /** Called once for each replica that has ended. What it leaves behind is removed by then, or when `close` resolves. */
  readonly onExit: (listener: (exit: ReplicaExit) => void) => void;
  /** Frees what none of these functions uses, no replica and no start under way. */
  readonly collect: (inUse: readonly FunctionSpec[]) => Promise<void>;
  /** Stops watching; replicas go on. */
  readonly close: () => void | Promise<void>;
}
