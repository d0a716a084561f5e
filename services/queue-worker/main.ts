import { openBus } from "../bus/connection.ts";
import { retryUntilReady } from "../bus/retry.ts";
import { runService } from "../runtime/lifecycle.ts";
import { serveMetrics } from "../runtime/metrics.ts";
import { countReconnects } from "../runtime/reconnects.ts";
import { openTracing } from "../runtime/tracing.ts";
import { readTracingConfig } from "../runtime/tracing-config.ts";
import { readQueueWorkerConfig } from "./config.ts";
import { openDoor } from "./door/open-door.ts";
import { openLanes } from "./lanes/open-lanes.ts";
import { openParts } from "./open-parts.ts";
import { openOutcomesBus } from "./outcomes/open-outcomes-bus.ts";
import { startOutcomes } from "./outcomes/start-outcomes.ts";
import { createRunner } from "./run-call.ts";
import { sampleQueues } from "./sample-queues.ts";
import { startSweep } from "./sweep.ts";

// Calls still in hand when the queue-worker is told to stop get this long; then they are handed back.
const graceMs = 5000;

await runService("queue-worker", async (scope) => {
  const config = readQueueWorkerConfig(process.env);
  const { natsUrl: url, credentialsFile, leaseMs, maxCalls, host, metricsPort } = config;
  const tracing = await openTracing(readTracingConfig(process.env), "queue-worker", scope.log);
  scope.onStop("traces", async () => tracing?.stop());
  const bus = await openBus({ url, credentialsFile, user: "queue-worker", name: "queue-worker" });
  scope.onStop("bus", bus.close);
  const outcomesBus = await openOutcomesBus(config, config);
  scope.onStop("the bus of outcomes", outcomesBus.close);
  const parts = await openParts(bus, config, tracing);
  scope.onStop("the reader of responses", parts.parts.close);
  scope.onStop("samples", () => {
    parts.samples.flush();
    parts.samples.stop();
  });
  // The provider makes the streams; started at the same time, it may need a moment longer.
  const run = parts.metrics.counted(createRunner(parts));
  const lanes = await retryUntilReady(() =>
    openLanes(bus, { invoker: parts.invoker, run, leaseMs, maxCalls, graceMs }),
  );
  scope.onStop("calls in hand", lanes.stop);
  scope.onStop("the door", await retryUntilReady(() => openDoor(parts)));
  const outcomes = { ...parts, outcomesBus, log: scope.log };
  scope.onStop("outcomes", await retryUntilReady(() => startOutcomes(outcomes)));
  const sweep = await retryUntilReady(() =>
    startSweep(bus, parts.records, {
      onSwept: (swept) => {
        if (Object.values(swept).some((count) => count > 0)) scope.log.info("cleared up after calls", { ...swept });
      },
    }),
  );
  scope.onStop("the sweep", sweep.stop);
  parts.metrics.observe(lanes.depths);
  scope.onStop("samples of queues", sampleQueues(bus, { ...parts, depths: lanes.depths }));
  countReconnects(parts.metrics.registry, "queue_worker_nats_reconnect_total", bus);
  const server = await serveMetrics(parts.metrics.registry, host, metricsPort);
  scope.onStop("metrics", server.stop);
  scope.log.info("ready", { metricsPort: server.port, maxCalls, leaseMs });
});
