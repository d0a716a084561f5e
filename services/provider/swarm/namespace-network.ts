import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { platformLabel } from "../container/platform-id.ts";
import { hasStatus, swarmReason, unlessMissing } from "./engine-calls.ts";

/** The label with the namespace that a network is of. */
const namespaceLabel = "com.busker.namespace";

interface NetworkFacts {
  readonly Id: string;
  readonly Name?: string;
  /** `swarm` for one of all nodes. Its driver is not told before it is used for the first time. */
  readonly Scope?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

/** A network that is not removed until it is released. */
export interface HeldNetwork {
  readonly id: string;
  readonly release: () => void;
}

/** The networks of namespaces, over which replicas reach nats-server. */
export interface NamespaceNetworks {
  /** A namespace's network, which is made when there is none. */
  readonly hold: (namespace: string) => Promise<HeldNetwork>;
  /** Its network is not there any more, or is about to go: it is looked for anew. */
  readonly forget: (namespace: string) => void;
  /** Removes those that none of these namespaces has and nobody holds. One that a task is still in stays for the next time. */
  readonly collect: (namespaces: ReadonlySet<string>) => Promise<void>;
}

/** `given`: the name of a network that all namespaces are to use instead, and that is not ours to make or remove. */
export const openNamespaceNetworks = (
  docker: Docker,
  platform: string,
  given: string | undefined,
): NamespaceNetworks => {
  const known = new Map<string, Promise<string>>();
  const inspect = (name: string): Promise<NetworkFacts | undefined> =>
    unlessMissing(docker.getNetwork(name).inspect() as Promise<NetworkFacts>);

  const findGiven = async (name: string): Promise<string> => {
    const facts = await inspect(name);
    if (facts?.Scope === "swarm") return facts.Id;
    throw new BuskerError(
      "unsupported",
      `BUSKER_SWARM_NETWORK must be an overlay network of this swarm; ${name} is ${facts ? "a network of one engine" : "no network"}`,
    );
  };

  const findOrMake = async (namespace: string): Promise<string> => {
    const name = `busker-${platform}-${namespace}`;
    const facts = await inspect(name);
    if (facts && facts.Labels?.[platformLabel] !== platform)
      throw new BuskerError("conflict", `there is a network ${name} that is not this platform's; remove or rename it`);
    if (facts) return facts.Id;
    const Labels = { [platformLabel]: platform, [namespaceLabel]: namespace };
    const made = await docker.createNetwork({
      Name: name,
      Driver: "overlay",
      Attachable: true,
      CheckDuplicate: true,
      Labels,
    });
    return made.id;
  };

  const holds = new Map<string, number>();
  const removals = new Map<string, Promise<unknown>>();

  const ensure = async (namespace: string): Promise<string> => {
    await removals.get(namespace);
    const key = given ?? namespace;
    const present = known.get(key);
    if (present) return present;
    const work = given === undefined ? findOrMake(namespace) : findGiven(given);
    known.set(key, work);
    work.catch(() => known.delete(key));
    return work;
  };

  const remove = async ({ Id }: NetworkFacts, namespace: string): Promise<void> => {
    known.delete(namespace);
    const work = docker.getNetwork(Id).remove();
    removals.set(
      namespace,
      work.catch(() => undefined),
    );
    await work
      .catch((error: unknown) => {
        // An engine answers 500, too, for one that has gone since it was listed.
        const isGone = hasStatus(error, 404) || swarmReason(error).includes("not found");
        if (!isGone && ![400, 403, 409].some((status) => hasStatus(error, status))) throw error;
      })
      .finally(() => removals.delete(namespace));
  };

  return {
    hold: async (namespace) => {
      holds.set(namespace, (holds.get(namespace) ?? 0) + 1);
      const release = (): void => void holds.set(namespace, (holds.get(namespace) ?? 0) - 1);
      try {
        return { id: await ensure(namespace), release };
      } catch (error) {
        release();
        throw error;
      }
    },
    forget: (namespace) => void known.delete(given ?? namespace),
    collect: async (namespaces) => {
      const label = [`${platformLabel}=${platform}`, namespaceLabel];
      for (const network of (await docker.listNetworks({ filters: { label } })) as readonly NetworkFacts[]) {
        const namespace = network.Labels?.[namespaceLabel] ?? "";
        if (!namespaces.has(namespace) && !holds.get(namespace)) await remove(network, namespace);
      }
    },
  };
};
