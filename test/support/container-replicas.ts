import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Docker from "dockerode";
import { create } from "tar";
import { replicaAnyFilter, replicaOrderSubject } from "../../schemas/subjects.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { stores } from "../../schemas/topology.ts";
import type { ReplicaOrder } from "../../schemas/invocation.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import { parseCredentials, publicKeyOf } from "../../services/bus/credentials.ts";
import { openInvoker } from "../../services/bus/invoker.ts";
import { mintFunctionUser, renewFunctionUser } from "../../services/bus/mint.ts";
import { openStore } from "../../services/bus/objects.ts";
import { openReplicaSecretKey } from "../../services/bus/sealing-keys.ts";
import { ensureTopology } from "../../services/bus/topology.ts";
import {
  buildContainerLaunch,
  containerOptions,
  startWithLaunch,
} from "../../services/provider/container/container-launch.ts";
import { platformId } from "../../services/provider/container/platform-id.ts";
import { createReplicaSecrets } from "../../services/provider/container/replica-secrets.ts";
import { openVolumes, type Volumes } from "../../services/provider/container/volumes.ts";
import { makeWatchdogFolder } from "../../services/provider/container/watchdog-folder.ts";
import { openBundleCache } from "../../services/provider/bundle-cache.ts";
import { bundleWatchdog } from "../../services/provider/fixtures/watchdog-bundle.ts";
import { silentLog } from "../../services/runtime/log.ts";
import type { TestEngine } from "./engine.ts";
import type { TestNats } from "./nats.ts";
import { eventually } from "./platform.ts";
import { invocationOf } from "./replicas.ts";

/** A replica in a container, as a test uses it. */
export interface ContainerReplica {
  readonly id: string;
  readonly container: Docker.Container;
  /** The text of its credentials. */
  readonly credentials: string;
  /** Calls the function over the bus: status and body; a failure's code and message instead. */
  readonly call: (
    body?: string,
    timeoutMs?: number,
  ) => Promise<{ readonly status: number | string; readonly body: string }>;
  /** What the watchdog itself has written. */
  readonly logs: () => Promise<string>;
  /** Why it ended, as it has told the bus; asks until it has. */
  readonly reason: () => Promise<string>;
  /** The order `renew`, with credentials that run out after `ttlMs`. */
  readonly renew: (ttlMs: number) => Promise<void>;
}

/** What is started. */
export interface ContainerReplicaOptions {
  readonly image: string;
  readonly envVars?: Readonly<Record<string, string>>;
  readonly envProcess?: string;
  readonly ttlMs?: number;
  readonly namespace?: string;
  /** Names of secrets that `setSecret` has set. */
  readonly secrets?: readonly string[];
  /** Leaves out the file system of secrets, so that they cannot be written. */
  readonly noSecretMount?: boolean;
  /** Added to what the watchdog needs. */
  readonly host?: Docker.HostConfig;
  readonly container?: Docker.ContainerCreateOptions;
}

/** Starts replicas of images on a test's engine and bus. */
export interface ContainerReplicas {
  readonly volumes: Volumes;
  readonly start: (options: ContainerReplicaOptions) => Promise<ContainerReplica>;
  /** Puts a folder into the object store as a bundle, and gives the name of its volume. */
  readonly addBundle: (folder: string) => Promise<string>;
  /** Gives a secret a value, and the replicas that have it too. */
  readonly setSecret: (name: string, value: Buffer | string) => void;
  readonly close: () => Promise<void>;
}

// As the docker backend has it: what a function needs no engine's default privileges for.
const strict: Docker.HostConfig = { CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] };

const readLogs = async (container: Docker.Container): Promise<string> => {
  const raw = await container.logs({ stdout: true, stderr: true });
  return raw.toString("utf8");
};

/** Opens what all replicas of one test file share. */
export const openContainerReplicas = async (engine: TestEngine, nats: TestNats): Promise<ContainerReplicas> => {
  const root = await mkdtemp(join(tmpdir(), "busker-volume-"));
  const bundle = await bundleWatchdog();
  const natsUrl = `nats://${engine.hostAddress}:${await engine.forward(nats.port)}`;
  const openAs = (user: "provider" | "gateway"): Promise<Bus> =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: "test" });
  const provider = await openAs("provider");
  await ensureTopology(provider);
  const platform = platformId(nats.trust.signer.account);
  const store = await openStore(provider, stores.bundles);
  const volumes = openVolumes({
    docker: engine.docker,
    platform,
    watchdogFolder: () => makeWatchdogFolder(join(root, "watchdog"), bundle.file),
    bundles: await openBundleCache(join(root, "bundles"), store),
  });
  const values = new Map<string, { readonly value: Buffer; readonly version: number }>();
  const secrets = createReplicaSecrets({
    secrets: {
      readValue: ({ name }) => {
        const found = values.get(name);
        if (!found) throw new Error(`the test has set no secret ${name}`);
        return found;
      },
    },
    keyOf: await openReplicaSecretKey(nats.trust.paths.sealingKey, platform),
    sendOrder: (replica, order) => provider.nc.publish(replicaOrderSubject(replica), JSON.stringify(order)),
    log: silentLog,
  });
  const reasons = new Map<string, string>();
  provider.nc.subscribe(replicaAnyFilter, {
    callback: (error, message) => {
      const { reason } = error ? {} : message.json<{ reason?: string }>();
      const [, , state = "", , , id = ""] = message.subject.split(".");
      if (reason !== undefined) reasons.set(id, reason);
      if (state === "ready") secrets.catchUp(id);
    },
  });
  provider.onChange((connected) => connected && secrets.catchUpAll());
  await provider.nc.flush();
  const gateway = await openAs("gateway");
  const invoker = openInvoker(gateway);

  const start = async (options: ContainerReplicaOptions): Promise<ContainerReplica> => {
    const id = `r-${randomUUID().slice(0, 8)}`;
    const { envVars, envProcess, image, ttlMs = 3_600_000, namespace = "openfaas-fn" } = options;
    const spec: FunctionSpec = {
      name: `fn-${id}`,
      namespace,
      image,
      ...(options.secrets && { secrets: options.secrets }),
      ...(envVars && { envVars }),
      ...(envProcess !== undefined && { envProcess }),
    };
    const user = { signer: nats.trust.signer, namespace: spec.namespace, name: spec.name, replica: id };
    const credentials = await mintFunctionUser({ ...user, ttlMs });
    const { Config } = await engine.docker.getImage(image).inspect();
    const watchdog = await volumes.ensureWatchdogVolume();
    const place = { ...watchdog, natsUrl, credentials, secrets: secrets.launchSecrets(id, spec) };
    const launch = buildContainerLaunch({ id, spec, revision: "test" }, Config, place);
    const made = containerOptions(spec, Config, watchdog);
    const mounts = (made.HostConfig?.Mounts ?? []).filter(
      ({ Type }) => Type !== "tmpfs" || options.noSecretMount !== true,
    );
    const container = await engine.docker.createContainer({
      Image: image,
      ...made,
      ...options.container,
      HostConfig: {
        ...made.HostConfig,
        NetworkMode: engine.network,
        ...strict,
        ...options.host,
        Mounts: [...mounts, ...(options.host?.Mounts ?? [])],
      },
    });
    await startWithLaunch(container, launch);
    const call: ContainerReplica["call"] = async (body = "", timeoutMs = 10_000) => {
      const result = await new Promise<Parameters<Parameters<typeof invoker.invoke>[1]>[0]>((resolve) =>
        invoker.invoke(invocationOf(spec, body, timeoutMs), resolve),
      );
      if (result.kind === "failed")
        return { status: result.error.code, body: `${result.error.message}\n${await readLogs(container)}` };
      return { status: result.reply.head.status, body: Buffer.from(result.body).toString("utf8") };
    };
    const renew = async (renewedMs: number): Promise<void> => {
      const key = publicKeyOf(parseCredentials(credentials).jwt);
      const jwt = await renewFunctionUser({ ...user, ttlMs: renewedMs }, key);
      provider.nc.publish(replicaOrderSubject(id), JSON.stringify({ kind: "renew", jwt } satisfies ReplicaOrder));
      await provider.nc.flush();
    };
    return {
      id,
      container,
      credentials,
      call,
      logs: () => readLogs(container),
      reason: () => eventually(`${id} says why it ended`, () => reasons.get(id)),
      renew,
    };
  };

  return {
    volumes,
    start,
    addBundle: async (folder) => {
      const archive = await create({ cwd: folder, gzip: true, portable: true }, ["."]).concat();
      const digest = createHash("sha256").update(archive).digest("hex");
      await store.put(digest, new Blob([new Uint8Array(archive)]).stream());
      return (await volumes.ensureBundleVolume(digest)).name;
    },
    setSecret: (name, value) => {
      const version = (values.get(name)?.version ?? 0) + 1;
      values.set(name, { value: Buffer.from(value), version });
      secrets.renew({ namespace: "openfaas-fn", name });
    },
    close: async () => {
      invoker.close();
      await gateway.close();
      await provider.close();
      await bundle.remove();
      await rm(root, { recursive: true, force: true });
    },
  };
};
