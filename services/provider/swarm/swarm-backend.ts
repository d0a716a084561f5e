import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type Docker from "dockerode";
import type { AuthConfig } from "dockerode";
import type { Bootstrap } from "../../../schemas/enrolment.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import { bundleDigest, type FunctionRecord, type FunctionSpec } from "../../../schemas/function.ts";
import type { ReplicaLaunch } from "../../../schemas/launch.ts";
import type { SamplingPolicy } from "../../../schemas/span.ts";
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
import { functionImage } from "../container/run-spec.ts";
import { makeWatchdogFolder, mountPoint } from "../container/watchdog-folder.ts";
import type { Credentials } from "../replica-credentials.ts";
import { createKeyedQueue } from "../keyed-queue.ts";
import { answerForBundles } from "./bundle-answers.ts";
import type { BundleArchives } from "./bundle-archives.ts";
import { engineFault, swarmReason, unlessMissing } from "./engine-calls.ts";
import { type Enrolments, openEnrolments } from "./enrolments.ts";
import { type SwarmSnapshot, watchSwarm } from "./follow-swarm.ts";
import { openFunctionServices } from "./function-services.ts";
import { openNamespaceNetworks } from "./namespace-network.ts";
import { checkBundleFits, launchBundle, toServiceSpec } from "./service-bundle.ts";
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
  /** Which calls of replicas are traced; undefined while tracing is off. */
  readonly traces?: SamplingPolicy | undefined;
  readonly bus: Bus;
  readonly signer: Signer;
  readonly credentials: Pick<Credentials, "renew" | "ttlMs">;
  readonly images: Images;
  readonly findCredentials: RegistryAuth;
  readonly secrets: ReplicaSecrets;
  readonly archives: BundleArchives;
  /** The image that bundles run in; undefined when none is set. */
  readonly baseImage: string | undefined;
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
const networkTries = 40;
const networkPauseMs = 250;

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
    api: Number(ApiVersion),
    health: Number(ApiVersion) < startIntervalApi ? olderHealth : usualHealth,
  };
};

/**
 * Runs each function as a service of Docker Swarm: the engine keeps the count, restarts and replaces replicas. Those ask
 * for their launch themselves (`enrolments.ts`). Services outlive the provider; the next one finds them by their labels.
 */
export const openSwarmBackend = async (options: SwarmBackendOptions): Promise<ServiceBackend> => {
  const { docker, platform, signer, images, secrets, log, natsUrl, traces } = options;
  const { architecture, health, api } = await examine(docker);
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
  let stopBundles = (): void => {};

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
  let cores: number | undefined;
  const onSnapshot = (snapshot: SwarmSnapshot): void => {
    ({ cores } = snapshot);
    teller.tell(snapshot);
  };
  const watch = watchSwarm({ docker, platform, services, onSnapshot, log });

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
    const place = { folder, natsUrl, traces, credentials, secrets: secrets.launchSecrets(start.id, start.spec) };
    return {
      ...buildContainerLaunch(start, image, place),
      ...launchBundle(start.spec),
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

  const measureBundle = async (spec: FunctionSpec) => {
    const digest = bundleDigest(spec.image);
    return digest === undefined ? undefined : options.archives.measure(digest);
  };
  const apply = async (record: FunctionRecord): Promise<void> => {
    const { spec } = record;
    const find = async () => findServiceImage(options, await toServiceSpec(spec, options.baseImage), record.revision);
    const [image, bundle] = await Promise.all([find(), measureBundle(spec), watchdog.ready()]);
    const config = functionImage(image.config, bundle !== undefined);
    const applyIn = (networkId: string): Promise<void> => {
      const place = {
        platform,
        image: image.reference,
        config,
        bundle,
        folder,
        watchdogVolume: watchdog.volume,
        architecture,
        networkId,
        pidsLimit: options.pidsLimit,
        health: options.health ?? health,
      };
      return services.apply({
        record,
        place,
        natsUrl,
        auth: image.auth,
        makeBootstrap: () => makeBootstrap(record, config),
      });
    };
    for (let tries = 1; ; tries += 1) {
      const network = await networks.hold(spec.namespace);
      try {
        return await applyIn(network.id);
      } catch (error) {
        if (tries === networkTries || !/network \S+ not found/.test(swarmReason(error))) throw error;
      } finally {
        network.release();
      }
      // An engine tells of a network that its manager has removed for as long as a container of its own is leaving it.
      networks.forget(spec.namespace);
      await pause(networkPauseMs);
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
      assertContainerLimits(spec);
      const run = await toServiceSpec(spec, options.baseImage);
      const bundle = await measureBundle(spec);
      if (bundle) checkBundleFits(spec, bundle);
      await watchdog.ready();
      return (await images.ensure(run, tell)).release;
    },
    cores: () => cores,
    listUnenforced: (spec) => listUnenforcedInSwarm(spec, api),
    renewSecret: secrets.renew,
    apply: (record) => change(record.spec, "the engine refuses the service", () => apply(record)),
    scale: (name, replicas) => change(name, "the engine refuses the count", () => services.scale(name, replicas)),
    remove: (name) => change(name, "the engine does not remove the service", () => services.remove(name)),
    follow: async (given) => {
      listener = given;
      const { holdBackMs, isServing } = given;
      enrolments = openEnrolments({ bus: options.bus, ticketKey, findTask, holdBackMs, isServing, makeLaunch, log });
      stopBundles = answerForBundles({ bus: options.bus, ticketKey, archives: options.archives, log });
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
      await options.archives.collect(new Set(inUse.flatMap((spec) => bundleDigest(spec.image) ?? [])));
      await networks.collect(new Set([...inUse, ...teller.all()].map(({ namespace }) => namespace)));
    },
    close: () => {
      watch.close();
      held.close();
      enrolments?.close();
      stopBundles();
    },
  };
};
