import { describeBackend } from "../fixtures/backend-contract.ts";
import { answerImage, startSwarmRig } from "../fixtures/swarm-backend.ts";

describeBackend("swarm", async () => {
  const rig = await startSwarmRig();
  const { swarm, platform, docker } = rig;
  const image = await rig.addImage(answerImage);
  const containersOf = async (label: string) =>
    (
      await Promise.all(
        swarm.nodes.map(async (node) =>
          (await node.docker.listContainers({ filters: { label: [label] } })).map(({ Id, Labels }) => ({
            task: Labels["com.docker.swarm.task.id"] ?? "",
            container: node.docker.getContainer(Id),
          })),
        ),
      )
    ).flat();
  return {
    platform,
    openProvider: () => platform.openProvider({ backend: rig.backend }),
    image,
    kill: async (id) => {
      const all = await containersOf("com.busker.function");
      await all.find(({ task }) => id.endsWith(task))?.container.kill({ signal: "SIGKILL" });
    },
    leftovers: async (name) => {
      const label = `com.busker.function=${name}.openfaas-fn`;
      const filters = { label: [label] };
      return [
        ...(await docker.listServices({ filters })).map(({ ID }) => `service ${ID}`),
        ...((await docker.listSecrets({ filters })) as { ID: string }[]).map(({ ID }) => `secret ${ID}`),
        ...(await containersOf(label)).map(({ task }) => `task ${task}`),
      ];
    },
    startMs: 30_000,
    stop: rig.stop,
  };
});
