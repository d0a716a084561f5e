import { randomBytes } from "node:crypto";
import { readRetryPolicy } from "../../schemas/retry-policy.ts";
import { stores } from "../../schemas/topology.ts";
import { createAcceptor } from "../bus/accept-calls.ts";
import { openAcknowledged } from "../bus/acknowledged.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import { openCallerSamples } from "../bus/caller-samples.ts";
import { openCallRecords } from "../bus/call-records.ts";
import type { Bus } from "../bus/connection.ts";
import { openInvoker } from "../bus/invoker.ts";
import { openStore } from "../bus/objects.ts";
import { openPartsReader } from "../bus/parts-reader.ts";
import { retryUntilReady } from "../bus/retry.ts";
import type { FunctionName } from "../../schemas/names.ts";
import type { Tracing } from "../runtime/tracing.ts";
import { openCancellations } from "./cancellations.ts";
import type { QueueWorkerConfig } from "./config.ts";
import { openFunctions } from "./functions.ts";
import { outcomeTargets } from "./outcomes/outcome-targets.ts";
import { publishOutcomes } from "./outcomes/publish-outcomes.ts";
import { createQueueMetrics } from "./queue-metrics.ts";

/** What the queue-worker's jobs share: each takes of it what it declares. */
export const openParts = async (bus: Bus, config: QueueWorkerConfig, tracing: Tracing | undefined) => {
  const { leaseMs, maxCalls, maxResultBytes, retry: policy } = config;
  // The provider makes buckets, stores and streams; started at the same time, it may need a moment longer.
  const functions = await retryUntilReady(() => openFunctions(bus));
  const payloads = await retryUntilReady(() => openStore(bus, stores.payloads));
  const acknowledged = openAcknowledged(bus);
  const records = await openCallRecords(bus, acknowledged);
  const metrics = createQueueMetrics((name) => functions.find(name) !== undefined);
  functions.onRemoved(metrics.forget);
  const source = `queue-worker-${randomBytes(4).toString("hex")}`;
  const samples = openCallerSamples(bus, { source, counts: (name) => invoker.counts(name) });
  functions.onRemoved(samples.forget);
  // What is in hand is bounded by the lanes.
  const limits = { maxCalls: 2 * maxCalls, maxBytes: Number.POSITIVE_INFINITY };
  const invoker = openInvoker(bus, { limits, onParked: samples.parked });
  return {
    bus,
    config,
    tracing,
    functions,
    payloads,
    acknowledged,
    records,
    metrics,
    counter: metrics,
    count: metrics.told,
    acceptor: createAcceptor({ bus, acknowledged, records, onAccepted: (name) => samples.of(name).accepted() }),
    cancellations: openCancellations(bus),
    /** Of what this queue-worker measures. */
    source,
    samples,
    invoker,
    parts: openPartsReader(bus, records),
    leaseMs,
    maxResultBytes,
    policy,
    publishOutcomes: (whole: WholeRecord) => {
      const spec = functions.find(whole.record.function)?.spec;
      return publishOutcomes(acknowledged, bus.source, whole, outcomeTargets(whole.record, spec));
    },
    retriesMax: (name: FunctionName): number | undefined => {
      const spec = functions.find(name)?.spec;
      return spec && readRetryPolicy(spec, policy).attempts - 1;
    },
  };
};
