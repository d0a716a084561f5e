import type { MountSettings } from "dockerode";
import type { FunctionSpec } from "../../../schemas/function.ts";
import type { ReplicaOrder } from "../../../schemas/invocation.ts";
import type { ReplicaSecrets as LaunchSecrets } from "../../../schemas/launch.ts";
import { maxSecretBytes, type SecretName } from "../../../schemas/secret.ts";
import type { ReplicaSecretKey } from "../../bus/sealing-keys.ts";
import { sealSecretOrder } from "../../bus/secret-order.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import type { SecretValueReader } from "../secret-store.ts";

/*
 * Secrets of replicas in containers. They go with the launch, which is in no file, environment or command line, and no
 * engine keeps them; the watchdog writes them into a file system in memory. A newer value goes to the replicas that have
 * the secret by an order each, closed for that replica alone.
 */

/** Where functions in containers find their secrets, as OpenFaaS has it. */
export const secretFolder = "/var/openfaas/secrets";

const secretsLabel = "com.busker.secrets";

/** Labels of a replica's container: the names of its secrets, so that another provider may renew them. */
export const secretsLabels = ({ secrets = [] }: Pick<FunctionSpec, "secrets">): Record<string, string> =>
  // A name has no comma.
  secrets.length === 0 ? {} : { [secretsLabel]: secrets.join(",") };

/** Reads the names back. */
export const readSecretsLabel = (labels: Readonly<Record<string, string>>): readonly string[] =>
  labels[secretsLabel]?.split(",") ?? [];

/** A replica and the names of the secrets it has. */
export interface SecretHolder {
  readonly id: string;
  readonly namespace: string;
  readonly names: readonly string[];
}

/** What gives replicas in containers their secrets, and keeps them new. */
export interface ReplicaSecrets {
  /**
   * What a new replica's launch has of secrets, and notes who has which; undefined for a function without any. Throws
   * `secret_not_found`, and `internal` for one that does not open.
   */
  readonly launchSecrets: (replica: string, spec: FunctionSpec) => LaunchSecrets | undefined;
  /** Takes over a replica of an earlier provider. Nobody knows what it has: it is sent all, here and at `catchUp`. */
  readonly adopt: (holder: SecretHolder) => void;
  /** Sends a secret's newer value to every replica that has the secret. */
  readonly renew: (secret: SecretName) => void;
  /**
   * Sends again what has changed since a replica's launch, because an order is lost that is published while the replica is
   * not connected, or not yet. To be called whenever a replica says that it is ready, again too.
   */
  readonly catchUp: (replica: string) => void;
  /** The same for all replicas: for when the bus is back, since what they said before we were is lost, too. */
  readonly catchUpAll: () => void;
  readonly forget: (replica: string) => void;
}

/** What it needs. */
export interface ReplicaSecretsOptions {
  readonly secrets: SecretValueReader;
  readonly keyOf: ReplicaSecretKey;
  readonly sendOrder: (replica: string, order: ReplicaOrder) => void;
  readonly log: Log;
}

interface Holder {
  readonly namespace: string;
  /** By name: the version that the replica surely has; 0 when nobody knows. */
  readonly versions: ReadonlyMap<string, number>;
}

/** Creates it; nothing is sent before it is asked for. */
export const createReplicaSecrets = ({ secrets, keyOf, sendOrder, log }: ReplicaSecretsOptions): ReplicaSecrets => {
  const holders = new Map<string, Holder>();

  const send = (replica: string, secret: SecretName, newerThan: number): void => {
    try {
      const { value, version } = secrets.readValue(secret);
      if (version <= newerThan) return;
      const order = sealSecretOrder(keyOf(replica), { replica, name: secret.name, version }, value);
      sendOrder(replica, { kind: "secret", ...order });
    } catch (error) {
      // The replica keeps the value it has: a secret that was removed, or that does not open, is told to who makes one.
      log.warn("could not renew a secret in a replica", { replica, secret: secret.name, error: describeError(error) });
    }
  };
  const catchUp = (replica: string): void => {
    const { namespace, versions } = holders.get(replica) ?? {};
    if (namespace === undefined) return;
    for (const [name, version] of versions ?? []) send(replica, { namespace, name }, version);
  };

  return {
    catchUp,
    catchUpAll: () => [...holders.keys()].forEach(catchUp),
    launchSecrets: (replica, { namespace, secrets: names = [] }) => {
      if (names.length === 0) return undefined;
      const values = [...new Set(names)].map((name) => ({ name, ...secrets.readValue({ namespace, name }) }));
      holders.set(replica, { namespace, versions: new Map(values.map(({ name, version }) => [name, version])) });
      const files = values.map(({ name, value, version }) => [name, { version, value: value.toString("base64") }]);
      return { folder: secretFolder, key: keyOf(replica).toString("base64"), files: Object.fromEntries(files) };
    },
    adopt: ({ id, namespace, names }) => {
      if (names.length === 0) return;
      holders.set(id, { namespace, versions: new Map(names.map((name) => [name, 0])) });
      catchUp(id);
    },
    renew: (secret) => {
      for (const [replica, { namespace, versions }] of holders) {
        const version = namespace === secret.namespace ? versions.get(secret.name) : undefined;
        if (version !== undefined) send(replica, secret, version);
      }
    },
    forget: (replica) => {
      holders.delete(replica);
    },
  };
};

// What tmpfs takes for a file besides its content.
const pageBytes = 4096;

/** The file system in memory for a function's secrets, each as large as a value may become, and one draft besides. */
export const secretMounts = ({ secrets = [] }: Pick<FunctionSpec, "secrets">): readonly MountSettings[] =>
  secrets.length === 0
    ? []
    : [
        {
          Type: "tmpfs",
          Target: secretFolder,
          Source: "",
          // The engine adds noexec, nosuid and nodev by itself. The watchdog, which writes, runs as the function's user.
          TmpfsOptions: { SizeBytes: (secrets.length + 1) * (maxSecretBytes + pageBytes), Mode: 0o1777 },
        },
      ];
