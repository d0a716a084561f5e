import { answerScript, describeBackend } from "../fixtures/backend-contract.ts";
import { startDockerPlatform } from "../fixtures/docker-backend.ts";

describeBackend("docker", async () => {
  const docker = await startDockerPlatform();
  return {
    platform: docker.platform,
    openProvider: () => docker.openProvider(),
    image: await docker.platform.addBundle({ "answer.sh": answerScript }),
    kill: async (id) => docker.engine.docker.getContainer(id).kill(),
    leftovers: async (name) => (await docker.containersOf(name)).map(({ Id }) => Id),
    startMs: 15_000,
    stop: docker.stop,
  };
});
