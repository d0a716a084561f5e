import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { engineReason, engineStatus } from "../container/engine-error.ts";
import { platformLabels } from "../container/labels.ts";
import { platformLabel } from "../container/platform-id.ts";
import { unlessGone } from "./unless-gone.ts";

/** The networks of functions, one for each namespace. */
export interface NamespaceNetworks {
  /** The name of a namespace's network, which is made when there is none. */
  readonly ensure: (namespace: string) => Promise<string>;
  /** Looks again before the next use: somebody may have removed it. */
  readonly forget: (namespace: string) => void;
  /** Removes those of namespaces that are not in use. */
  readonly collect: (inUse: ReadonlySet<string>) => Promise<void>;
}

const namespaceLabel = "com.busker.namespace";

interface NetworkFacts {
  readonly Labels?: Readonly<Record<string, string>> | null;
}

const inspect = async (docker: Docker, name: string): Promise<NetworkFacts | undefined> => {
  try {
    return (await docker.getNetwork(name).inspect()) as NetworkFacts;
  } catch (error) {
    if (engineStatus(error) === 404) return undefined;
    throw error;
  }
};

/** Opens the networks of a platform. */
export const openNamespaceNetworks = (docker: Docker, platform: string): NamespaceNetworks => {
  const known = new Map<string, Promise<string>>();

  const create = (name: string, namespace: string): Promise<unknown> =>
    docker.createNetwork({
      Name: name,
      Driver: "bridge",
      CheckDuplicate: true,
      // Replicas talk to the bus and to nobody else's ports.
      Options: { "com.docker.network.bridge.enable_icc": "false" },
      Labels: { ...platformLabels(platform), [namespaceLabel]: namespace },
    });

  const make = async (namespace: string): Promise<string> => {
    const name = `busker-${platform}-${namespace}`;
    const found = await inspect(docker, name);
    if (found && found.Labels?.[platformLabel] !== platform)
      throw new BuskerError(
        "start_failed",
        `there is a network ${name} that is not this platform's; remove or rename it`,
      );
    if (!found)
      await create(name, namespace).catch((cause: unknown) => {
        throw new BuskerError("start_failed", `could not make the network ${name}: ${engineReason(cause)}`);
      });
    return name;
  };

  return {
    ensure: (namespace) => {
      const present = known.get(namespace);
      if (present) return present;
      const work = make(namespace);
      known.set(namespace, work);
      work.catch(() => known.delete(namespace));
      return work;
    },
    forget: (namespace) => void known.delete(namespace),
    collect: async (inUse) => {
      const label = [`${platformLabel}=${platform}`, namespaceLabel];
      for (const { Id, Labels } of await docker.listNetworks({ filters: { label } })) {
        const namespace = Labels?.[namespaceLabel] ?? "";
        if (inUse.has(namespace)) continue;
        known.delete(namespace);
        // One that has got a container meanwhile stays: the engine refuses.
        await unlessGone(docker.getNetwork(Id).remove());
      }
    },
  };
};
