import { BuskerError } from "../../schemas/errors.ts";
import type { Outcome, ScaleWish } from "../../schemas/events.ts";
import { type FunctionRecord, type FunctionSpec, maxReplicas } from "../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import { minReplicas, scaleLabels } from "../../schemas/scale-labels.ts";
import type { WishVerb } from "../../schemas/subjects.ts";
import type { Entry } from "../bus/kv.ts";
import { checkSpec } from "./check-spec.ts";
import { awaitFirstReady } from "./first-ready.ts";
import { orAborted } from "./or-aborted.ts";
import type { FunctionStore } from "./function-store.ts";
import type { FunctionState } from "./function-state.ts";

/** A wish about a function, as it came. */
export interface Wish extends FunctionName {
  readonly verb: WishVerb;
  /** `ce-id`; becomes the revision of what it deploys. */
  readonly id: string;
  readonly data: unknown;
  /** It was given to a provider before, who did not say how it ended. */
  readonly redelivered: boolean;
}

/** How a wish ended; a BuskerError thrown instead is a failed one. */
export type WishEnd =
  | { readonly kind: "settled"; readonly outcome: Omit<Outcome, "wish"> }
  /** This provider ends: the next one carries the wish on. */
  | { readonly kind: "unfinished" };

/** What carrying out a wish needs. */
export interface WishParts {
  readonly store: FunctionStore;
  readonly find: (key: string) => FunctionState | undefined;
  /** Fetches what a spec runs from, to be kept until it is released; throws what the backend's `prepare` throws. */
  readonly prepare: (spec: FunctionSpec, tell: (progress: string) => void) => Promise<() => void>;
  /** Tells whoever waits for a wish's outcome how far it is. */
  readonly tellProgress: (wish: Wish, message: string) => void;
  /** Throws when the namespace or a secret that the spec names does not exist. */
  readonly assertNamed: (spec: FunctionSpec) => Promise<void>;
  /** How long a wish waits for the first replica, in milliseconds. */
  readonly readyTimeoutMs: number;
  /** Aborted when this provider ends. */
  readonly signal: AbortSignal;
}

const notFound = (name: FunctionName): BuskerError =>
  new BuskerError("function_not_found", `there is no function ${formatFunctionName(name)}`);

const readSpec = ({ data, ...wish }: Wish): FunctionSpec =>
  checkSpec(typeof data === "object" && data !== null && "spec" in data ? data.spec : undefined, wish);

/** Fetches what a spec runs from; rejects when this provider ends before it is here, which takes as long as it takes. */
const prepare = async (parts: WishParts, wish: Wish, spec: FunctionSpec): Promise<() => void> => {
  const ended = new BuskerError(
    "provider_unavailable",
    `the provider ended before it had what ${formatFunctionName(wish)} runs from`,
  );
  const work = parts.prepare(spec, (message) => parts.tellProgress(wish, message));
  return orAborted(work, parts.signal, ended, (release) => release());
};

/** Lets `write` put a spec into the store once it is checked and what it runs from is here. */
const admit = async <T>(parts: WishParts, wish: Wish, write: (spec: FunctionSpec) => Promise<T>): Promise<T> => {
  const spec = readSpec(wish);
  await parts.assertNamed(spec);
  const release = await prepare(parts, wish, spec);
  try {
    return await write(spec);
  } finally {
    release();
  }
};

/** Waits for the wish's first replica; `rollBack` undoes the wish when that one fails. */
const settleStart = async (parts: WishParts, wish: Wish, rollBack: () => Promise<void>): Promise<WishEnd> => {
  const key = formatFunctionName(wish);
  const state = parts.find(key);
  const replicas = state?.record?.replicas ?? 0;
  if (!state || replicas === 0) return { kind: "settled", outcome: { replicas: 0, availableReplicas: 0 } };
  const first = await awaitFirstReady(state, {
    revision: wish.id,
    timeoutMs: parts.readyTimeoutMs,
    signal: parts.signal,
  });
  switch (first.kind) {
    case "stopped":
      return { kind: "unfinished" };
    case "failed":
      await rollBack();
      throw new BuskerError(
        first.isRefused ? "invalid_request" : "start_failed",
        `${key} did not start: ${first.reason}`,
      );
    case "ready":
    case "overdue":
      return { kind: "settled", outcome: { replicas, availableReplicas: countReady(state, wish.id) } };
  }
};

const countReady = (state: FunctionState, revision: string): number =>
  state.replicas.filter((replica) => replica.state === "ready" && replica.revision === revision).length;

const removeIfOwn = async (parts: WishParts, key: string, revision: string): Promise<void> => {
  const entry = await parts.store.get(key);
  if (entry?.value.revision === revision) await parts.store.remove(entry);
};

const deploy = async (parts: WishParts, wish: Wish): Promise<WishEnd> => {
  const key = formatFunctionName(wish);
  const exists = new BuskerError("function_exists", `${key} exists already; update it or remove it first`);
  const present = await parts.store.get(key);
  if (present && present.value.revision !== wish.id) throw exists;
  if (!present)
    await admit(parts, wish, async (spec) => {
      const now = new Date().toISOString();
      const record = { spec, replicas: minReplicas(spec), revision: wish.id, createdAt: now, updatedAt: now };
      await parts.store.create(key, record).catch((error: unknown) => {
        throw error instanceof BuskerError && error.code === "conflict" ? exists : error;
      });
    });
  return settleStart(parts, wish, () => removeIfOwn(parts, key, wish.id));
};

const minOf = (spec: FunctionSpec): string | undefined => spec.labels?.[scaleLabels.min];

/** The record after an update: the replica count stays, unless the least one was changed. */
const updateRecord = (record: FunctionRecord, spec: FunctionSpec, revision: string): FunctionRecord => {
  const replicas = minOf(spec) === minOf(record.spec) ? record.replicas : Math.max(record.replicas, minReplicas(spec));
  return { ...record, spec, replicas, revision, updatedAt: new Date().toISOString() };
};

// From the bucket's history and not from memory: the provider that began this may be gone.
const restorePrevious = async (parts: WishParts, key: string, revision: string): Promise<void> => {
  const previous = await parts.store.findPrevious(key, revision);
  if (!previous) return;
  await parts.store.change(key, (record) =>
    record.revision === revision ? { ...previous, replicas: record.replicas } : undefined,
  );
};

const update = async (parts: WishParts, wish: Wish): Promise<WishEnd> => {
  const key = formatFunctionName(wish);
  const present = await parts.store.get(key);
  if (!present) throw notFound(wish);
  if (present.value.revision !== wish.id) {
    const changed = await admit(parts, wish, (spec) =>
      parts.store.change(key, (record) => updateRecord(record, spec, wish.id), present),
    );
    if (!changed) throw notFound(wish);
  }
  return settleStart(parts, wish, () => restorePrevious(parts, key, wish.id));
};

const assertCount = (field: string, value: unknown): void => {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= maxReplicas) return;
  throw new BuskerError(
    "invalid_request",
    `${field} must be a whole number from 0 to ${maxReplicas}; got ${JSON.stringify(value)}`,
  );
};

const readScale = (data: unknown): ScaleWish => {
  const wish = typeof data === "object" && data !== null ? (data as Readonly<Record<string, unknown>>) : {};
  assertCount("replicas", wish["replicas"]);
  if (wish["from"] !== undefined) assertCount("from", wish["from"]);
  if (wish["reason"] !== undefined && typeof wish["reason"] !== "string")
    throw new BuskerError("invalid_request", `reason must be text; got ${JSON.stringify(wish["reason"])}`);
  return wish as unknown as ScaleWish;
};

/** The record after a scale wish; undefined when it is so already. Throws `conflict` when the wish is out of date. */
const scaleRecord = (record: FunctionRecord, { replicas, from, reason }: ScaleWish): FunctionRecord | undefined => {
  const { scaledBecause, ...rest } = record;
  // A person who sets the count that the scaler has set makes it their own.
  if (record.replicas === replicas && (reason !== undefined || scaledBecause === undefined)) return undefined;
  if (from !== undefined && record.replicas !== from)
    throw new BuskerError(
      "conflict",
      `${formatFunctionName(record.spec)} was to be scaled from ${from} to ${replicas}, and is at ${record.replicas}`,
    );
  const because = reason === undefined ? {} : { scaledBecause: reason };
  return { ...rest, replicas, ...because, updatedAt: new Date().toISOString() };
};

const scale = async (parts: WishParts, wish: Wish): Promise<WishEnd> => {
  const key = formatFunctionName(wish);
  const wanted = readScale(wish.data);
  const { replicas } = wanted;
  const changed = await parts.store.change(key, (record) => scaleRecord(record, wanted));
  if (!changed) throw notFound(wish);
  return { kind: "settled", outcome: { replicas, availableReplicas: parts.find(key)?.available ?? 0 } };
};

const remove = async (parts: WishParts, wish: Wish): Promise<WishEnd> => {
  const entry: Entry<FunctionRecord> | undefined = await parts.store.get(formatFunctionName(wish));
  // Given before and gone now: that was this wish.
  if (!entry && !wish.redelivered) throw notFound(wish);
  if (entry) await parts.store.remove(entry);
  return { kind: "settled", outcome: { replicas: 0, availableReplicas: 0 } };
};

const verbs = { deploy, update, scale, remove } as const satisfies Record<WishVerb, typeof deploy>;

/**
 * Carries out one wish. The same wish again continues where the first ended: what it has written is told by its id.
 * Throws the BuskerError that says why it could not be done; then nothing has changed.
 */
export const applyWish = (parts: WishParts, wish: Wish): Promise<WishEnd> => verbs[wish.verb](parts, wish);
