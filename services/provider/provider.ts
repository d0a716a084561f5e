import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import { buckets } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { type Bucket, openBucket } from "../bus/kv.ts";
import { describeError, type Log } from "../runtime/log.ts";
import type { Backend } from "./backend.ts";
import { openDemand } from "./demand.ts";
import { createFunctionStore } from "./function-store.ts";
import { assertNamedThings, ensureDefaultNamespace, type NamespaceRecord } from "./named-things.ts";
import { createReconciler, type Reconciler } from "./reconciler.ts";
import { askWhoIsReady, followReplicas } from "./replica-events.ts";
import { openStandIns } from "./stand-ins.ts";
import { createStatusWriter } from "./status-writer.ts";
import { openWishes } from "./wishes.ts";

/** A provider that works. */
export interface Provider {
  /** Ends with every replica drained; those not gone in time are killed. */
  readonly stop: () => Promise<void>;
  /** Ends and leaves the replicas running, for a provider to come. */
  readonly leave: () => Promise<void>;
}

/** What a provider is made of. */
export interface ProviderParts {
  readonly bus: Bus;
  readonly backend: Backend;
  readonly log: Log;
}

// Everything is reconciled when it changes; this catches what nobody told us of.
const reconcileEveryMs = 10_000;
const collectEveryMs = 10 * 60_000;
const readyTimeoutMs = 20_000;
const drainGraceMs = 10_000;

const openBuckets = async (bus: Bus) => ({
  functions: await openBucket<FunctionRecord>(bus, buckets.functions),
  status: await openBucket<FunctionStatusRecord>(bus, buckets.status),
  namespaces: await openBucket<NamespaceRecord>(bus, buckets.namespaces),
  secrets: await openBucket<unknown>(bus, buckets.secrets),
});

/** Takes the wish from its bucket, all that is there before it resolves, and then each change. */
const followWish = async (functions: Bucket<FunctionRecord>, reconciler: Reconciler): Promise<() => void> => {
  let onCaughtUp: () => void = () => {};
  const caughtUp = new Promise<void>((resolve) => {
    onCaughtUp = resolve;
  });
  const stop = await functions.watch(reconciler.take, onCaughtUp);
  await caughtUp;
  return stop;
};

const startTimers = ({ backend, log }: ProviderParts, reconciler: Reconciler): (() => void) => {
  const collect = (): void => {
    const inUse = reconciler.all().flatMap((state) => state.record?.spec ?? []);
    backend
      .collect(inUse)
      .catch((error: unknown) => log.warn("could not free bundles", { error: describeError(error) }));
  };
  const timers = [setInterval(reconciler.reconcileAll, reconcileEveryMs), setInterval(collect, collectEveryMs)];
  return () => timers.forEach(clearInterval);
};

/** Starts a provider on buckets and streams that exist. Replicas that run already are taken over before any is started. */
export const openProvider = async (parts: ProviderParts): Promise<Provider> => {
  const { bus, backend, log } = parts;
  const { functions, status, namespaces, secrets } = await openBuckets(bus);
  await ensureDefaultNamespace(namespaces);
  const ending = new AbortController();
  const standIns = openStandIns(bus);
  const writer = createStatusWriter(status, log);
  const reconciler = createReconciler({ bus, backend, status: writer, log, onChange: standIns.update });
  const stopEvents = followReplicas(bus, reconciler);
  reconciler.adopt(await backend.adopt());
  for (const state of reconciler.all()) askWhoIsReady(bus, state.name);
  const stopWatch = await followWish(functions, reconciler);
  reconciler.start();
  const store = createFunctionStore(functions, reconciler);
  const stopDemand = openDemand({ bus, store, find: reconciler.find, log });
  const stopWishes = await openWishes({
    bus,
    log,
    parts: {
      store,
      find: reconciler.find,
      prepare: backend.prepare,
      assertNamed: (spec) => assertNamedThings(spec, { namespaces, secrets }),
      readyTimeoutMs,
      signal: ending.signal,
    },
  });
  const stopTimers = startTimers(parts, reconciler);

  const endWork = async (): Promise<void> => {
    ending.abort();
    stopTimers();
    stopDemand();
    standIns.close();
    await stopWishes();
    stopWatch();
  };
  return {
    stop: async () => {
      await endWork();
      await reconciler.stop(drainGraceMs);
      stopEvents();
      backend.close();
    },
    leave: async () => {
      reconciler.freeze();
      await endWork();
      stopEvents();
      backend.close();
    },
  };
};
