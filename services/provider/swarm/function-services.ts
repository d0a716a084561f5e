import { createHash, randomBytes } from "node:crypto";
import type { AuthConfig, ServiceSpec } from "dockerode";
import type Docker from "dockerode";
import type { Bootstrap } from "../../../schemas/enrolment.ts";
import type { FunctionRecord } from "../../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../../schemas/names.ts";
import { functionLabel } from "../container/labels.ts";
import { platformLabel } from "../container/platform-id.ts";
import {
  createSecretObject,
  createService,
  hasStatus,
  swarmReason,
  unlessMissing,
  updateService,
} from "./engine-calls.ts";
import { type ServicePlace, serviceSpec } from "./service-spec.ts";

/** The label with a hash of all that a service was made from: equal means that nothing is to be done. */
const appliedLabel = "com.busker.applied";

/** What an engine tells of a service: the part that matters to us. */
export interface ServiceFacts {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: ServiceSpec;
  readonly PreviousSpec?: ServiceSpec;
  readonly UpdateStatus?: { readonly State?: string; readonly Message?: string; readonly StartedAt?: string };
}

/** What a service is made of: the wish, and all of its place but the bootstrap. */
export interface ServiceWish {
  readonly record: FunctionRecord;
  readonly place: Omit<ServicePlace, "bootstrap">;
  readonly natsUrl: string;
  readonly makeBootstrap: () => Promise<Bootstrap>;
  readonly auth: AuthConfig | undefined;
}

/** The services of one platform's functions. */
export interface FunctionServices {
  readonly list: () => Promise<readonly ServiceFacts[]>;
  readonly find: (name: FunctionName) => Promise<ServiceFacts | undefined>;
  /** Makes the service, or changes it to what is wished. Rejects with the engine's error. */
  readonly apply: (wish: ServiceWish) => Promise<void>;
  /** Sets nothing but the count. Does nothing when there is no service. */
  readonly scale: (name: FunctionName, replicas: number) => Promise<void>;
  /** Removes the service and what belongs to it. */
  readonly remove: (name: FunctionName) => Promise<void>;
  /** Removes secrets of services that no service has. */
  readonly collect: () => Promise<void>;
}

/** The replicas that a service is set to. */
export const replicasOf = ({ Spec }: ServiceFacts): number | undefined => Spec.Mode?.Replicated?.Replicas;

const maxTries = 10;
const outOfSequence = "update out of sequence";

const noBootstrap = { id: "", name: "" };

const hashWish = ({ record, place, natsUrl }: ServiceWish): string => {
  const content = serviceSpec({ ...record, replicas: 0 }, { ...place, bootstrap: noBootstrap });
  return createHash("sha256")
    .update(JSON.stringify([content, record.spec, natsUrl]))
    .digest("hex")
    .slice(0, 32);
};

const secretsOf = (spec: ServiceSpec | undefined): readonly string[] => {
  const container = (spec?.TaskTemplate as { ContainerSpec?: { Secrets?: { SecretID: string }[] } } | undefined)
    ?.ContainerSpec;
  return (container?.Secrets ?? []).map(({ SecretID }) => SecretID);
};

/** Opens them in an engine that is a manager of its swarm. */
export const openFunctionServices = (docker: Docker, platform: string): FunctionServices => {
  const own = `${platformLabel}=${platform}`;
  const listBy = async (...labels: readonly string[]): Promise<readonly ServiceFacts[]> =>
    (await docker.listServices({ filters: { label: [own, ...labels] } })) as unknown as readonly ServiceFacts[];
  const list = async (): Promise<readonly ServiceFacts[]> =>
    (await listBy()).filter(({ Spec }) => Spec.Labels?.[functionLabel] !== undefined);
  const find = async (name: FunctionName): Promise<ServiceFacts | undefined> =>
    (await listBy(`${functionLabel}=${formatFunctionName(name)}`))[0];

  const createBootstrap = async ({ record, makeBootstrap }: ServiceWish) => {
    const name = `busker-${platform}-enrol-${randomBytes(8).toString("hex")}`;
    const Labels = { [platformLabel]: platform, [functionLabel]: formatFunctionName(record.spec) };
    const Data = Buffer.from(JSON.stringify(await makeBootstrap())).toString("base64");
    return { id: await createSecretObject(docker, { Name: name, Labels, Data }), name };
  };

  const collect = async (): Promise<void> => {
    const secrets = await docker.listSecrets({ filters: { label: [own, functionLabel] } });
    const used = new Set((await list()).flatMap(({ Spec, PreviousSpec }) => [Spec, PreviousSpec].flatMap(secretsOf)));
    for (const { ID } of secrets as readonly { ID: string }[])
      // One that a task of an older revision still has is kept by the engine, and gone the next time.
      if (!used.has(ID))
        await docker
          .getSecret(ID)
          .remove()
          .catch((error: unknown) => {
            if (!hasStatus(error, 404) && !hasStatus(error, 400)) throw error;
          });
  };

  const specOf = async (wish: ServiceWish, hash: string): Promise<ServiceSpec> => {
    const spec = serviceSpec(wish.record, { ...wish.place, bootstrap: await createBootstrap(wish) });
    return { ...spec, Labels: { ...spec.Labels, [appliedLabel]: hash } };
  };

  const change = async (
    name: FunctionName,
    auth: AuthConfig | undefined,
    make: (facts: ServiceFacts) => ServiceSpec | undefined,
  ): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      const facts = await find(name);
      const spec = facts && make(facts);
      if (!facts || !spec) return;
      try {
        await updateService(docker, facts, spec, auth);
        return;
      } catch (error) {
        // Somebody, or the engine itself, has changed it meanwhile.
        if (tries === maxTries || !swarmReason(error).includes(outOfSequence)) throw error;
      }
    }
  };

  const withReplicas = (spec: ServiceSpec, Replicas: number): ServiceSpec => ({
    ...spec,
    Mode: { Replicated: { Replicas } },
  });

  const scale = (name: FunctionName, replicas: number): Promise<void> =>
    change(name, undefined, (facts) =>
      replicasOf(facts) === replicas ? undefined : withReplicas(facts.Spec, replicas),
    );

  return {
    list,
    find,
    collect,
    scale,
    apply: async (wish) => {
      const { spec, replicas } = wish.record;
      const hash = hashWish(wish);
      const present = await find(spec);
      if (present?.Spec.Labels?.[appliedLabel] === hash) return scale(spec, replicas);
      const wanted = await specOf(wish, hash);
      try {
        if (present) await change(spec, wish.auth, () => wanted);
        else await createService(docker, wanted, wish.auth);
      } catch (error) {
        await collect();
        throw error;
      }
    },
    remove: async (name) => {
      const present = await find(name);
      if (present) await unlessMissing(docker.getService(present.ID).remove());
      await collect();
    },
  };
};
