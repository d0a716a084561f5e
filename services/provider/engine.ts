import Docker from "dockerode";
import { openSigner } from "../bus/mint.ts";
import { trustPaths } from "../bus/trust-files.ts";
import { describeError } from "../runtime/log.ts";
import { platformId } from "./container/platform-id.ts";
import { ensureBusNetwork, removeNetworks } from "./docker/bus-network.ts";
import { forgetBusNetwork } from "./docker/keep-bus-network.ts";
import { removeContainers, stopContainers } from "./docker/left-containers.ts";

/*
 * What whoever starts a platform on this machine must have done in its engine before the provider runs, and after it has
 * gone: `node engine.js prepare|stop|kill DATA-FOLDER`. Prints one line of JSON: the answer, or `{ "error": … }`.
 */

/** The answer to `prepare`. */
interface Prepared {
  /** Such as `Docker Engine 20.10.24`. */
  readonly engine: string;
  /** The address on which nats-server is to listen: containers reach it, and this machine does. */
  readonly address: string;
}

// A watchdog that is told to stop lets its calls finish; on the way down they do not get for ever.
const graceMs = 3000;
// An engine that has answered nothing for so long hangs.
const answerMs = 10_000;

const ask = async (docker: Docker): Promise<string> => {
  const { Version } = await docker.version();
  return `Docker Engine ${Version}`;
};

/** What is prepared and cleared up. */
interface Task {
  readonly docker: Docker;
  readonly platform: string;
  readonly dataFolder: string;
}

const removeAllNetworks = async ({ docker, platform, dataFolder }: Task): Promise<void> => {
  await forgetBusNetwork(dataFolder);
  await removeNetworks(docker, platform);
};

const verbs: Readonly<Record<string, (task: Task) => Promise<Prepared | object>>> = {
  prepare: async ({ docker, platform }) => ({
    engine: await ask(docker),
    address: await ensureBusNetwork(docker, platform),
  }),
  stop: async (task) => {
    await stopContainers(task.docker, task.platform, graceMs);
    await removeAllNetworks(task);
    return {};
  },
  kill: async (task) => {
    await removeContainers(task.docker, task.platform);
    await removeAllNetworks(task);
    return {};
  },
};

const run = async (verb = "", dataFolder = ""): Promise<object> => {
  const act = verbs[verb];
  if (!act || dataFolder === "") throw new Error(`usage: engine ${Object.keys(verbs).join("|")} DATA-FOLDER`);
  const { account } = await openSigner(trustPaths(dataFolder).signer);
  return act({ docker: new Docker({ timeout: answerMs }), platform: platformId(account), dataFolder });
};

const answer = await run(process.argv[2], process.argv[3]).catch((error: unknown) => ({ error: describeError(error) }));
process.stdout.write(`${JSON.stringify(answer)}\n`);
