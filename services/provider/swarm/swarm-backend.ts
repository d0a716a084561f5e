import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type Docker from "dockerode";
import type { AuthConfig } from "dockerode";
import type { Bootstrap } from "../../../schemas/enrolment.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { bundleScheme, type FunctionRecord } from "../../../schemas/function.ts";
import type { ReplicaLaunch } from "../../../schemas/launch.ts";
import type { Bus } from "../../bus/connection.ts";
import { deriveFromSigner, enrolledKey, mintEnrolledUser, mintEnrolUser, type Signer } from "../../bus/mint.ts";
import type { Log } from "../../runtime/log.ts";
import type { ReplicaStart, ServiceBackend, ServiceListener, ServiceReplica } from "../backend.ts";
import { buildContainerLaunch } from "../container/container-launch.ts";
import type { ImageConfig } from "../container/image.ts";
import { parseImageReference } from "../container/image-reference.ts";
import type { Images } from "../container/images.ts";
import type { RegistryAuth } from "../container/registry-auth.ts";
import type { ReplicaSecrets } from "../container/replica-secrets.ts";
import { assertContainerLimits } from "../container/resources.ts";
import { findServiceImage, pinServiceImage } from "./service-image.ts";
import { openHeldCredentials, type SendOrder } from "../container/keep-credentials.ts";
import { platformLabel } from "../container/platform-id.ts";
import { makeWatchdogFolder, mountPoint } from "../container/watchdog-folder.ts";
import type { Credentials } from "../replica-credentials.ts";
import { createKeyedQueue } from "../keyed-queue.ts";
import { engineFault, swarmReason, unlessMissing } from "./engine-calls.ts";
import { type Enrolments, openEnrolments } from "./enrolments.ts";
import { watchSwarm } from "./follow-swarm.ts";
import { openFunctionServices } from "./function-services.ts";
import { openNamespaceNetworks } from "./namespace-network.ts";
import { type HealthTimes, readyFile } from "./service-spec.ts";
import { readTask, type SwarmNodeFacts, type SwarmTask } from "./task-view.ts";
import { createTaskTeller } from "./tell-tasks.ts";
import { makeTicket } from "./ticket.ts";
import { listUnenforcedInSwarm } from "./unenforced.ts";
import { openWatchdogService } from "./watchdog-service.ts";

/** What the swarm backend needs. */
export interface SwarmBackendOptions {
  /** An engine that is a manager of its swarm. */
  readonly docker: Docker;
  /** Id of the platform. */
  readonly platform: string;
  readonly dataFolder: string;
  readonly watchdogFile: string;
  /** The image that fills the watchdog's volume on each node. */
  readonly watchdogImage: string;
  /** As tasks reach it. */
  readonly natsUrl: string;
  readonly bus: Bus;
  readonly signer: Signer;
  readonly credentials: Pick<Credentials, "renew" | "ttlMs">;
  readonly images: Images;
  readonly findCredentials: RegistryAuth;
  readonly secrets: ReplicaSecrets;
  readonly sendOrder: SendOrder;
  readonly pidsLimit: number;
  /** An overlay network that all namespaces are to use. */
  readonly network: string | undefined;
  readonly health?: HealthTimes;
  readonly log: Log;
}

// An engine before API 1.44 knows one interval only. A look starts a program in the container, which takes it some 60 ms
// (measured, 20.10): looked at oftener, a hundred replicas would have a core for themselves. Calls do not wait for it,
// the next step of an update does.
const usualHealth: HealthTimes = { intervalMs: 30_000, startIntervalMs: 250 };
const olderHealth: HealthTimes = { intervalMs: 10_000, startIntervalMs: 10_000 };
const startIntervalApi = 1.44;
const leastApi = 1.41;

/** What the engine is; throws `unsupported` when it cannot run services. */
const examine = async (docker: Docker) => {
  const { ApiVersion } = await docker.version();
  const info = (await docker.info()) as {
    Architecture?: string;
    Swarm?: { ControlAvailable?: boolean; LocalNodeState?: string };
  };
  if (Number(ApiVersion) < leastApi)
    throw new BuskerError(
      "unsupported",
      `the swarm backend needs an engine with API ${leastApi} or later; got ${ApiVersion}`,
    );
  if (!info.Swarm?.ControlAvailable)
    throw new BuskerError(
      "unsupported",
      `the swarm backend needs an engine that is a manager of a swarm; this one is ${info.Swarm?.LocalNodeState ?? "none"}: run docker swarm init on it, or the provider on a manager`,
    );
  return {
    architecture: info.Architecture ?? "",
    health: Number(ApiVersion) < startIntervalApi ? olderHealth : usualHealth,
  };
};

/**
 * Runs each function as a service of Docker Swarm: the engine keeps the count, restarts and replaces replicas. Those ask
 * for their launch themselves (`enrolments.ts`). Services outlive the provider; the next one finds them by their labels.
 */
export const openSwarmBackend = async (options: SwarmBackendOptions): Promise<ServiceBackend> => {
  const { docker, platform, signer, images, secrets, log, natsUrl } = options;
  const { architecture, health } = await examine(docker);
  const folder = await makeWatchdogFolder(join(options.dataFolder, "watchdog"), options.watchdogFile);
  const { watchdogImage: image } = options;
  const { login } = await options.findCredentials({ namespace: "" }, parseImageReference(image).registry);
  const auth = login as AuthConfig | undefined;
  const watchdog = await openWatchdogService({ docker, platform, folder, image, architecture, auth });
  const networks = openNamespaceNetworks(docker, platform, options.network);
  const services = openFunctionServices(docker, platform);
  const ticketKey = deriveFromSigner(signer, "enrolment tickets");
  const queue = createKeyedQueue();
  const hold = ({ namespace, name, id }: ServiceReplica): void => {
    const replica = { namespace, name, replica: id };
    held.keep({ ...replica, key: enrolledKey({ ...replica, signer }) });
  };
  let listener: ServiceListener | undefined;
  let enrolments: Enrolments | undefined;

  const teller = createTaskTeller((news) => {
    if (news.kind === "replica") hold(news.replica);
    if (news.kind === "exit") {
      held.forget(news.exit.id);
      secrets.forget(news.exit.id);
      enrolments?.forget(news.exit.id.slice(news.exit.id.lastIndexOf("-") + 1));
    }
    listener?.onNews(news);
  });
  const held = openHeldCredentials(options.credentials, options.sendOrder, log);
  const watch = watchSwarm({ docker, platform, services, onSnapshot: teller.tell, log });

  const makeBootstrap = async ({ spec, revision }: FunctionRecord, config: ImageConfig): Promise<Bootstrap> => {
    const { namespace, name } = spec;
    const user = `enrol-${randomBytes(8).toString("hex")}`;
    const credentials = await mintEnrolUser({ signer, namespace, name, user });
    return {
      natsUrl,
      namespace,
      name,
      user,
      credentials,
      ticket: makeTicket(ticketKey, { spec, revision, image: config }),
    };
  };

  const makeLaunch = async (start: ReplicaStart, image: ImageConfig): Promise<ReplicaLaunch> => {
    const { namespace, name } = start.spec;
    const user = { signer, namespace, name, replica: start.id, ttlMs: options.credentials.ttlMs };
    const credentials = await mintEnrolledUser(user);
    const place = { folder, natsUrl, credentials, secrets: secrets.launchSecrets(start.id, start.spec) };
    return {
      ...buildContainerLaunch(start, image, place),
      // An engine tells a manager nothing of it.
      ...(start.spec.limits?.memory === undefined ? {} : { engineMemoryLimit: start.spec.limits.memory }),
      readyLink: { path: readyFile, target: `${mountPoint}/node` },
    };
  };

  const findTask = async (id: string) => {
    const task = (await unlessMissing(docker.getTask(id).inspect())) as SwarmTask | undefined;
    const labels = task?.Spec.ContainerSpec?.Labels ?? {};
    if (!task || labels[platformLabel] !== platform) return undefined;
    const nodes = (await docker.listNodes()) as unknown as readonly SwarmNodeFacts[];
    return readTask(task, new Map(nodes.map((node) => [node.ID, node])));
  };

  const apply = async (record: FunctionRecord): Promise<void> => {
    const { spec } = record;
    const [image] = await Promise.all([findServiceImage(options, spec, record.revision), watchdog.ready()]);
    const network = await networks.hold(spec.namespace);
    try {
      const place = {
        platform,
        image: image.reference,
        config: image.config,
        folder,
        watchdogVolume: watchdog.volume,
        architecture,
        networkId: network.id,
        pidsLimit: options.pidsLimit,
        health: options.health ?? health,
      };
      await services.apply({
        record,
        place,
        natsUrl,
        auth: image.auth,
        makeBootstrap: () => makeBootstrap(record, image.config),
      });
    } finally {
      network.release();
    }
  };

  /** Does it for one function at a time, and looks at what came of it. */
  const change = (
    name: { readonly namespace: string; readonly name: string },
    what: string,
    work: () => Promise<void>,
  ) =>
    queue(`${name.name}.${name.namespace}`, async () => {
      await work().catch((error: unknown) => {
        throw engineFault(what, error);
      });
      watch.hurry();
      await watch.look();
    });

  return {
    prepare: async (spec, tell) => {
      if (spec.image.startsWith(bundleScheme))
        throw new BuskerError(
          "unsupported",
          `image must be an image reference, because the swarm backend runs no bundles in this version; got ${JSON.stringify(spec.image)}`,
        );
      assertContainerLimits(spec);
      await watchdog.ready();
      return (await images.ensure(spec, tell)).release;
    },
    listUnenforced: listUnenforcedInSwarm,
    renewSecret: secrets.renew,
    apply: (record) => change(record.spec, "the engine refuses the service", () => apply(record)),
    scale: (name, replicas) => change(name, "the engine refuses the count", () => services.scale(name, replicas)),
    remove: (name) => change(name, "the engine does not remove the service", () => services.remove(name)),
    follow: async (given) => {
      listener = given;
      const { holdBackMs, isServing } = given;
      enrolments = openEnrolments({ bus: options.bus, ticketKey, findTask, holdBackMs, isServing, makeLaunch, log });
      const snapshot = await watch.look();
      await Promise.all(snapshot.services.map((service) => pinServiceImage(docker, images, service)));
      for (const { id, namespace, secrets: names } of snapshot.tasks) {
        if (!teller.find(id)) continue;
        secrets.adopt({ id, namespace, names });
        // Nobody knows how old the credentials are that an earlier provider gave.
        held.renew(id);
      }
      watch.start();
    },
    collect: async (inUse) => {
      await services.collect().catch((error: unknown) => {
        log.warn("could not remove what no service uses", { error: swarmReason(error) });
      });
      images.collect(inUse);
      await networks.collect(new Set(inUse.map(({ namespace }) => namespace)));
    },
    close: () => {
      watch.close();
      held.close();
      enrolments?.close();
    },
  };
};
