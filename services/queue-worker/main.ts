import { readRetryPolicy } from "../../schemas/retry-policy.ts";
import { stores } from "../../schemas/topology.ts";
import { createAcceptor } from "../bus/accept-calls.ts";
import { openAcknowledged } from "../bus/acknowledged.ts";
import { openCallRecords } from "../bus/call-records.ts";
import { openBus } from "../bus/connection.ts";
import { openInvoker } from "../bus/invoker.ts";
import { openStore } from "../bus/objects.ts";
import { openPartsReader } from "../bus/parts-reader.ts";
import { retryUntilReady } from "../bus/retry.ts";
import { runService } from "../runtime/lifecycle.ts";
import { serveMetrics } from "../runtime/metrics.ts";
import { openCancellations } from "./cancellations.ts";
import { readQueueWorkerConfig } from "./config.ts";
import { openDoor } from "./door/open-door.ts";
import { openFunctions } from "./functions.ts";
import { openLanes } from "./lanes/open-lanes.ts";
import { outcomeTargets } from "./outcomes/outcome-targets.ts";
import { openOutcomesBus } from "./outcomes/open-outcomes-bus.ts";
import { publishOutcomes } from "./outcomes/publish-outcomes.ts";
import { startOutcomes } from "./outcomes/start-outcomes.ts";
import { createQueueMetrics } from "./queue-metrics.ts";
import { createRunner } from "./run-call.ts";

// Calls still in hand when the queue-worker is told to stop get this long; then they are handed back.
const graceMs = 5000;

await runService("queue-worker", async (scope) => {
  const config = readQueueWorkerConfig(process.env);
  const { natsUrl: url, credentialsFile, leaseMs, maxCalls, maxResultBytes } = config;
  const bus = await openBus({ url, credentialsFile, user: "queue-worker", name: "queue-worker" });
  scope.onStop("bus", bus.close);
  // The provider makes buckets, stores and streams; started at the same time, it may need a moment longer.
  const functions = await retryUntilReady(() => openFunctions(bus));
  const payloads = await retryUntilReady(() => openStore(bus, stores.payloads));
  const acknowledged = openAcknowledged(bus);
  const records = await openCallRecords(bus, acknowledged);
  const acceptor = createAcceptor(bus, acknowledged, records);
  const cancellations = openCancellations(bus);
  const invoker = openInvoker(bus, { limits: { maxCalls: 2 * maxCalls, maxBytes: Number.POSITIVE_INFINITY } });
  const metrics = createQueueMetrics();
  functions.onRemoved(metrics.forget);
  const parts = {
    bus,
    acknowledged,
    acceptor,
    records,
    functions,
    cancellations,
    invoker,
    payloads,
    leaseMs,
    maxResultBytes,
    policy: config.retry,
    counter: metrics,
    publishOutcomes: (whole: Parameters<typeof publishOutcomes>[2]) =>
      publishOutcomes(
        acknowledged,
        bus.source,
        whole,
        outcomeTargets(whole.record, functions.find(whole.record.function)?.spec),
      ),
  };
  const lanes = await retryUntilReady(() =>
    openLanes(bus, { invoker, run: metrics.counted(createRunner(parts)), leaseMs, maxCalls, graceMs }),
  );
  scope.onStop("calls in hand", lanes.stop);
  scope.onStop("the door", await retryUntilReady(() => openDoor(parts)));
  const outcomesBus = await openOutcomesBus(config, config);
  scope.onStop("the bus of outcomes", outcomesBus.close);
  const partsReader = openPartsReader(bus, records);
  scope.onStop("the reader of responses", partsReader.close);
  const stopOutcomes = await retryUntilReady(() =>
    startOutcomes({
      ...parts,
      outcomesBus,
      parts: partsReader,
      config,
      log: scope.log,
      retriesMax: (name) => {
        const spec = functions.find(name)?.spec;
        return spec && readRetryPolicy(spec, config.retry).attempts - 1;
      },
      count: metrics.told,
    }),
  );
  scope.onStop("outcomes", stopOutcomes);
  metrics.observe(lanes.depths);
  const server = await serveMetrics(metrics.registry, config.host, config.metricsPort);
  scope.onStop("metrics", server.stop);
  scope.log.info("ready", { metricsPort: server.port, maxCalls, leaseMs });
});
