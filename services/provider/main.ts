import { buckets } from "../../schemas/topology.ts";
import { openBus } from "../bus/connection.ts";
import { openBucket } from "../bus/kv.ts";
import { openSigner } from "../bus/mint.ts";
import { retryUntilReady } from "../bus/retry.ts";
import { openUnseal } from "../bus/sealing-keys.ts";
import { ensureTopology } from "../bus/topology.ts";
import { trustPaths } from "../bus/trust-files.ts";
import { runService } from "../runtime/lifecycle.ts";
import { readProviderConfig } from "./config.ts";
import { createBackend, keepBusReachable } from "./create-backend.ts";
import { openProvider } from "./provider.ts";
import { openSecretStore } from "./secret-store.ts";

const electionMs = 60_000;

await runService("provider", async (scope) => {
  const config = readProviderConfig(process.env);
  const signer = await openSigner(config.signerFile);
  scope.onStop("the way to the bus", await keepBusReachable(config, signer, scope.log));
  const bus = await openBus({
    url: config.natsUrl,
    credentialsFile: config.credentialsFile,
    user: "provider",
    name: "provider",
  });
  scope.onStop("bus", bus.close);
  // A cluster that has just started, or lost a server, may have no leader yet. One server is there or is not.
  await retryUntilReady(() => ensureTopology(bus, config.streamReplicas), config.streamReplicas > 1 ? electionMs : 0);
  const unseal = await openUnseal(trustPaths(config.dataFolder).sealingKey);
  const secrets = await openSecretStore(await openBucket(bus, buckets.secrets), unseal);
  const backend = await createBackend(config, { bus, signer, secrets, log: scope.log });
  const provider = await openProvider({ ...config, bus, backend, secrets, log: scope.log });
  scope.onStop("replicas", provider.stop);
  scope.log.info("ready", { backend: config.backend, dataFolder: config.dataFolder });
});
