import { stores } from "../../schemas/topology.ts";
import { openBus } from "../bus/connection.ts";
import { openSigner } from "../bus/mint.ts";
import { openStore } from "../bus/objects.ts";
import { ensureTopology } from "../bus/topology.ts";
import { runService } from "../runtime/lifecycle.ts";
import { readProviderConfig } from "./config.ts";
import { openProcessBackend } from "./process-backend.ts";
import { openProvider } from "./provider.ts";
import { createCredentials } from "./replica-credentials.ts";

await runService("provider", async (scope) => {
  const config = readProviderConfig(process.env);
  const signer = await openSigner(config.signerFile);
  const bus = await openBus({
    url: config.natsUrl,
    credentialsFile: config.credentialsFile,
    user: "provider",
    name: "provider",
  });
  scope.onStop("bus", bus.close);
  await ensureTopology(bus);
  const backend = await openProcessBackend({
    ...config,
    credentials: createCredentials(signer, config.replicaCredentialsTtlMs),
    bundles: await openStore(bus, stores.bundles),
    log: scope.log,
  });
  const provider = await openProvider({ bus, backend, log: scope.log });
  scope.onStop("replicas", provider.stop);
  scope.log.info("ready", { backend: config.backend, dataFolder: config.dataFolder });
});
