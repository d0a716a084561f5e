import type { FunctionRecord, FunctionSpec } from "../../schemas/function.ts";
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
  /** It has not even begun, and the fault is in what was deployed. */
  readonly isRefused?: boolean;
}

/** What a provider needs of whatever runs functions. */
export interface FunctionRunner {
  /**
   * Fetches what a function of this spec runs from, so that a start need not wait for it. Throws `invalid_request` or
   * `unsupported` with a sentence for the one who deploys. It is not freed until the function that this gives is called.
   * `tell` is called with how far it is, a sentence each, where it takes a while.
   */
  readonly prepare: (spec: FunctionSpec, tell: (progress: string) => void) => Promise<() => void>;
  /** What a spec asks for and this backend does not do, a sentence each, for whoever looks at the function. */
  readonly listUnenforced: (spec: FunctionSpec) => readonly string[];
  /** Cores of all machines that functions run on; undefined while they are not known. */
  readonly cores: () => number | undefined;
  /** Puts a secret's new value into the replicas that have it. */
  readonly renewSecret: (secret: SecretName) => void;
  /** Frees what none of these functions uses, no replica and no start under way. */
  readonly collect: (inUse: readonly FunctionSpec[]) => Promise<void>;
  /** Stops watching; replicas go on. */
  readonly close: () => void | Promise<void>;
}

/** What runs replicas one by one: a container engine, or plain processes. */
export interface Backend extends FunctionRunner {
  /** Starts a replica; rejects when it could not even begin. Its end is told to `onExit`. */
  readonly start: (replica: ReplicaStart) => Promise<void>;
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
}

/** A replica of a service, which the engine has started by itself. */
export interface ServiceReplica extends Omit<FoundReplica, "frozen"> {
  /** The machine that it runs on. */
  readonly node: string | undefined;
}

/** What has become of services and their replicas. */
export type ServiceNews =
  /** A replica is there, or has been told to stop. */
  | { readonly kind: "replica"; readonly replica: ServiceReplica }
  /** It has ended; `stopping`: not by itself. */
  | { readonly kind: "exit"; readonly exit: ReplicaExit; readonly stopping: boolean }
  /** How a function's service is set, told again and again. */
  | {
      readonly kind: "service";
      readonly function: FunctionName;
      readonly revision: string;
      readonly replicas: number;
      /** The engine has taken an update back or stopped it; why. */
      readonly undone: string | undefined;
      /** Why no machine takes a replica, and of which revision. */
      readonly unplaced?: string;
      readonly unplacedRevision?: string;
    }
  /** All services have been told of: those that were not are gone. */
  | { readonly kind: "looked" };

/** What a service's backend asks and tells. */
export interface ServiceListener {
  readonly onNews: (news: ServiceNews) => void;
  /** How long a start of this revision is to be put off, in milliseconds: it has failed of late. */
  readonly holdBackMs: (start: ReplicaStart) => number;
  /** A replica is ready, or was. */
  readonly isServing: (replica: string) => boolean;
}

/** What runs functions as services: the engine keeps the count of their replicas, restarts and replaces them. */
export interface ServiceBackend extends FunctionRunner {
  /** Brings a function's service to this wish. Rejects with the engine's reason; then the service is as it was. */
  readonly apply: (record: FunctionRecord) => Promise<void>;
  /** Sets nothing but how many replicas a function's service has. */
  readonly scale: (name: FunctionName, replicas: number) => Promise<void>;
  /** Removes a function's service, if there is one. */
  readonly remove: (name: FunctionName) => Promise<void>;
  /** Tells of everything from now on; resolves when it has told of all there is. To be called once. */
  readonly follow: (listener: ServiceListener) => Promise<void>;
}
