import type Docker from "dockerode";
import type { NetworkInspectInfo } from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { engineReason, engineStatus } from "../container/engine-error.ts";
import { platformLabels } from "../container/labels.ts";
import { platformLabel } from "../container/platform-id.ts";
import { unlessGone } from "./unless-gone.ts";

/** The networks of functions, one for each namespace. */
export interface NamespaceNetworks {
  /** The id of a namespace's network, which is made when there is none. */
  readonly ensure: (namespace: string) => Promise<string>;
  /** Looks again before the next use: somebody may have removed it. */
  readonly forget: (namespace: string) => void;
  /** Removes those of namespaces that are not in use. */
  readonly collect: (inUse: ReadonlySet<string>) => Promise<void>;
}

const namespaceLabel = "com.busker.namespace";

/** Opens the networks of a platform. */
export const openNamespaceNetworks = (docker: Docker, platform: string): NamespaceNetworks => {
  const known = new Map<string, Promise<string>>();

  const list = (): Promise<readonly NetworkInspectInfo[]> =>
    docker.listNetworks({ filters: { label: [`${platformLabel}=${platform}`, namespaceLabel] } });

  const create = async (namespace: string): Promise<string> => {
    const name = `busker-${platform}-${namespace}`;
    try {
      const { id } = await docker.createNetwork({
        Name: name,
        Driver: "bridge",
        CheckDuplicate: true,
        // Replicas talk to the bus and to nobody else's ports.
        Options: { "com.docker.network.bridge.enable_icc": "false" },
        Labels: { ...platformLabels(platform), [namespaceLabel]: namespace },
      });
      return id;
    } catch (cause) {
      throw new BuskerError("start_failed", `could not make the network ${name}: ${engineReason(cause)}`);
    }
  };

  // By its id from then on: an engine lets others give theirs the same name.
  const find = async (namespace: string): Promise<string> =>
    (await list()).find(({ Labels }) => Labels?.[namespaceLabel] === namespace)?.Id ?? create(namespace);

  // One that has got a container meanwhile stays: the engine refuses.
  const removeUnused = async (id: string): Promise<void> => {
    await unlessGone(docker.getNetwork(id).remove()).catch((error: unknown) => {
      if (engineStatus(error) !== 403) throw error;
    });
  };

  return {
    ensure: (namespace) => {
      const present = known.get(namespace);
      if (present) return present;
      const work = find(namespace);
      known.set(namespace, work);
      work.catch(() => known.delete(namespace));
      return work;
    },
    forget: (namespace) => void known.delete(namespace),
    collect: async (inUse) => {
      for (const { Id, Labels } of await list()) {
        const namespace = Labels?.[namespaceLabel] ?? "";
        if (inUse.has(namespace)) continue;
        known.delete(namespace);
        await removeUnused(Id);
      }
    },
  };
};
