import { openBus } from "../bus/connection.ts";
import { runService } from "../runtime/lifecycle.ts";
import { serveMetrics } from "../runtime/metrics.ts";
import { readScalerConfig } from "./config.ts";
import { createScalerMetrics } from "./scaler-metrics.ts";
import { openScaler } from "./scaler.ts";

await runService("scaler", async (scope) => {
  const config = readScalerConfig(process.env);
  const bus = await openBus({
    url: config.natsUrl,
    credentialsFile: config.credentialsFile,
    user: "scaler",
    name: "scaler",
  });
  scope.onStop("bus", bus.close);
  const metrics = createScalerMetrics();
  const scaler = await openScaler({ bus, metrics, log: scope.log });
  scope.onStop("scaler", scaler.stop);
  const server = await serveMetrics(metrics.registry, config.host, config.metricsPort);
  scope.onStop("metrics", server.stop);
  scope.log.info("following", { metricsPort: server.port });
});
