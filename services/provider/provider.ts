import type { FunctionRecord, FunctionStatusRecord } from "../../schemas/function.ts";
import { buckets } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { type Bucket, openBucket } from "../bus/kv.ts";
import type { Log } from "../runtime/log.ts";
import type { Backend, ServiceBackend } from "./backend.ts";
import { createBundleCollector } from "./bundle-collector.ts";
import { openDemand } from "./demand.ts";
import { relieveMemory, usualReservePercent } from "./evict-frozen.ts";
import type { FunctionState } from "./function-state.ts";
import { createFunctionStore } from "./function-store.ts";
import { markDeployed } from "./mark-deployed.ts";
import { assertNamedThings, ensureDefaultNamespace, type NamespaceRecord } from "./named-things.ts";
import { createReconciler, type Reconciler } from "./reconciler.ts";
import { askWhoIsReady, followReplicas } from "./replica-events.ts";
import { openSecretRequests } from "./secret-requests.ts";
import type { SecretStore } from "./secret-store.ts";
import { openStandIns } from "./stand-ins.ts";
import { createStatusWriter } from "./status-writer.ts";
import { createProgressTeller } from "./wish-progress.ts";
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
  readonly backend: Backend | ServiceBackend;
  readonly secrets: SecretStore;
  readonly log: Log;
  /** Frozen replicas are stopped while less of the machine's memory is available, in hundredths of all; 10 where absent. */
  readonly memoryReservePercent?: number;
}

// Everything is reconciled when it changes; this catches what nobody told us of.
const reconcileEveryMs = 10_000;
const readyTimeoutMs = 20_000;
const drainGraceMs = 10_000;

const openBuckets = async (bus: Bus) => ({
  functions: await openBucket<FunctionRecord>(bus, buckets.functions),
  status: await openBucket<FunctionStatusRecord>(bus, buckets.status),
  namespaces: await openBucket<NamespaceRecord>(bus, buckets.namespaces),
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

/** Starts a provider on buckets and streams that exist. Replicas that run already are taken over before any is started. */
export const openProvider = async (parts: ProviderParts): Promise<Provider> => {
  const { bus, backend, secrets, log, memoryReservePercent: reservePercent = usualReservePercent } = parts;
  const { functions, status, namespaces } = await openBuckets(bus);
  await ensureDefaultNamespace(namespaces);
  const ending = new AbortController();
  const standIns = openStandIns(bus);
  const writer = createStatusWriter(status, log);
  const inUse = () => reconciler.all().flatMap((state) => state.record?.spec ?? []);
  const collector = createBundleCollector(() => backend.collect(inUse()), log);
  const onChange = (state: FunctionState): void => {
    standIns.update(state);
    collector.note();
  };
  const reconciler: Reconciler = createReconciler({ bus, backend, status: writer, log, onChange });
  const stopEvents = followReplicas(bus, reconciler);
  // Before replicas are taken over: what changes from now on is told, what changed before is looked for there.
  secrets.onChange(backend.renewSecret);
  await reconciler.adopt();
  for (const state of reconciler.all()) askWhoIsReady(bus, state.name);
  const stopWatch = await followWish(functions, reconciler);
  reconciler.start();
  collector.start();
  const store = createFunctionStore(functions, reconciler, (record) => markDeployed(bus, record));
  const stopDemand = openDemand({ bus, store, find: reconciler.find, reconcile: reconciler.reconcile, log });
  const stopWishes = await openWishes({
    bus,
    log,
    parts: {
      store,
      find: reconciler.find,
      prepare: backend.prepare,
      tellProgress: createProgressTeller(bus, log),
      assertNamed: (spec) => assertNamedThings(spec, { namespaces, secrets }),
      readyTimeoutMs,
      signal: ending.signal,
    },
  });
  const stopSecrets = openSecretRequests({ bus, store: secrets, namespaces, inUse, log });
  // From here on requests find somebody: the server knows the subscriptions.
  await bus.nc.flush();
  const timer = setInterval(() => {
    reconciler.reconcileAll();
    void relieveMemory({ ...reconciler, reservePercent }).then((state) => {
      if (state) log.warn("memory is short: a frozen replica is stopped", { function: state.key });
    });
  }, reconcileEveryMs);

  const endWork = async (): Promise<void> => {
    ending.abort();
    clearInterval(timer);
    collector.stop();
    stopDemand();
    stopSecrets();
    secrets.stop();
    standIns.close();
    await stopWishes();
    stopWatch();
  };
  return {
    stop: async () => {
      await endWork();
      await reconciler.stop(drainGraceMs);
      stopEvents();
      await backend.close();
    },
    leave: async () => {
      reconciler.freeze();
      await endWork();
      stopEvents();
      await backend.close();
    },
  };
};
