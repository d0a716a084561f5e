import { randomBytes } from "node:crypto";
import { stores } from "../../schemas/topology.ts";
import { openCallerSamples } from "../bus/caller-samples.ts";
import { openBus } from "../bus/connection.ts";
import { openInvoker } from "../bus/invoker.ts";
import { openKeptReader } from "../bus/kept-reader.ts";
import { openStore } from "../bus/objects.ts";
import { retryUntilReady } from "../bus/retry.ts";
import { openSeal } from "../bus/sealing-keys.ts";
import { trustPaths } from "../bus/trust-files.ts";
import { runService } from "../runtime/lifecycle.ts";
import { serveMetrics } from "../runtime/metrics.ts";
import { openTracing } from "../runtime/tracing.ts";
import { readTracingConfig } from "../runtime/tracing-config.ts";
import { createAlertRoute } from "./alert-route.ts";
import { createApiRequests } from "./api-requests.ts";
import { createApp } from "./app.ts";
import { createAuthorizer, readCredentials } from "./basic-auth.ts";
import { createBundlesRoute } from "./bundles-route.ts";
import { openDeadLetters } from "../bus/dead-letters.ts";
import { createCallRoute } from "./call-route.ts";
import { readGatewayConfig } from "./config.ts";
import { createCallsRoute } from "./calls-route.ts";
import { createDeadRoute } from "./dead-route.ts";
import { createCallFinder } from "./find-call.ts";
import { createReplayer } from "./replayer.ts";
import { openDirectory } from "./directory.ts";
import { openDurableCalls } from "./durable-calls.ts";
import { createFunctionsRoute } from "./functions-route.ts";
import { createGatewayMetrics } from "./gateway-metrics.ts";
import { isDurable, isInvocation } from "./invocation-url.ts";
import { createInvokeRoute } from "./invoke-route.ts";
import { createLoadRoute } from "./load-route.ts";
import { createLogsRoute } from "./logs-route.ts";
import { createPlatformRoute } from "./platform-route.ts";
import { openSecrets } from "./secrets.ts";
import { createScalerRoute } from "./scaler-route.ts";
import { createSecretsRoute } from "./secrets-route.ts";
import { serveHttp } from "./server.ts";
import { followSpans } from "./follow-spans.ts";
import { openTotals } from "./totals/open-totals.ts";
import { openWishes } from "./wishes.ts";

// Calls still open when the gateway is told to stop get this long.
const stopGraceMs = 5000;
// A provider that is there answers in milliseconds.
const secretTimeoutMs = 10_000;

await runService("gateway", async (scope) => {
  const config = readGatewayConfig(process.env);
  const authorize = createAuthorizer(await readCredentials(config.dataFolder));
  const seal = await openSeal(trustPaths(config.dataFolder).sealingPublic);
  const tracing = await openTracing(readTracingConfig(process.env), "gateway", scope.log);
  scope.onStop("traces", async () => tracing?.stop());
  const bus = await openBus({
    url: config.natsUrl,
    credentialsFile: config.credentialsFile,
    user: "gateway",
    name: "gateway",
  });
  scope.onStop("bus", bus.close);
  // The provider makes the buckets; started at the same time, it may need a moment longer.
  const directory = await retryUntilReady(() => openDirectory(bus));
  const bundles = await retryUntilReady(() => openStore(bus, stores.bundles));
  const limits = { maxCalls: config.maxLine, maxBytes: 256 * 1024 * 1024 };
  const samples = openCallerSamples(bus, {
    source: `gateway-${randomBytes(4).toString("hex")}`,
    counts: (name) => invoker.counts(name),
  });
  scope.onStop("samples", () => {
    samples.flush();
    samples.stop();
  });
  const invoker = openInvoker(bus, { limits, onParked: samples.parked });
  const kept = openKeptReader(bus);
  scope.onStop("readers", async () => kept.close());
  const wishes = openWishes(bus, config.wishTimeoutMs);
  directory.onRemoved(samples.forget);
  const totals = await retryUntilReady(() => openTotals(bus, directory));
  scope.onStop("totals", totals.stop);
  const invoke = createInvokeRoute({ directory, invoker, kept, samples, maxBodyBytes: config.maxBodyBytes, tracing });
  if (tracing) followSpans(bus, tracing, scope.log);
  const requests = createApiRequests();
  const payloads = await retryUntilReady(() => openStore(bus, stores.payloads));
  const durable = await openDurableCalls(bus, {
    directory,
    payloads,
    answered: requests.answered,
    maxBodyBytes: config.maxAsyncBodyBytes,
    onAccepted: (name) => samples.of(name).accepted(),
    tracing,
  });
  scope.onStop("durable calls", async () => durable.close());
  const letters = await openDeadLetters(bus);
  const finder = createCallFinder(bus, durable.records, letters);
  const replayer = createReplayer({ bus, directory, finder, letters, payloads, tracing, ...durable });
  const routes = [
    createFunctionsRoute({ directory, wishes, totals }),
    createAlertRoute({ directory, wishes, log: scope.log }),
    createSecretsRoute(openSecrets(bus, seal, secretTimeoutMs)),
    createBundlesRoute(bundles, config.maxBundleBytes),
    createLogsRoute(bus, directory),
    createLoadRoute(bus, directory),
    createScalerRoute(bus),
    createCallRoute(durable.calls),
    createCallsRoute({ bus, finder, replayer }),
    createDeadRoute({ letters, replayer }),
    createPlatformRoute({ bus, directory, backend: config.backend }),
  ];
  const api = createApp(authorize, routes, requests.answered).callback();
  const registry = createGatewayMetrics({ bus, directory, totals, readers: kept.count, api: requests });
  const metricsServer = await serveMetrics(registry, config.host, config.metricsPort);
  scope.onStop("metrics", metricsServer.stop);
  // Invocations go past Koa: its context and promises cost 3 to 9 of the gateway's 50 microseconds per call (measured).
  const server = await serveHttp({
    onRequest: (request, response) => {
      if (isInvocation(request.url ?? "")) invoke.onRequest(request, response);
      else if (isDurable(request.url ?? "")) durable.accept(request, response);
      else void api(request, response);
    },
    onUpgrade: invoke.onUpgrade,
    host: config.host,
    port: config.port,
  });
  scope.onStop("http", () => server.stop(stopGraceMs));
  scope.log.info("listening", { host: config.host, port: server.port, metricsPort: metricsServer.port });
});
