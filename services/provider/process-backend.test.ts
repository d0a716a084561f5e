import { existsSync } from "node:fs";
import { join } from "node:path";
import { answerScript, describeBackend } from "./fixtures/backend-contract.ts";
import { openReplicaFiles } from "./fixtures/replica-files.ts";
import { startTestPlatform } from "./fixtures/test-provider.ts";

describeBackend("process", async () => {
  const platform = await startTestPlatform();
  const files = openReplicaFiles(platform.nats.dataFolder);
  return {
    platform,
    openProvider: () => platform.openProvider(),
    image: await platform.addBundle({ "answer.sh": answerScript }),
    kill: async (id) => void process.kill(files.pidOf(id), "SIGKILL"),
    leftovers: async (name) => (existsSync(join(platform.nats.dataFolder, "replicas")) ? files.idsOf(name) : []),
    startMs: 15_000,
    stop: platform.stop,
  };
});
