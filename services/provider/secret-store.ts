import { BuskerError } from "../../schemas/errors.ts";
import {
  formatSecretName,
  isSecretName,
  parseSecretKey,
  type SealedBox,
  type SecretName,
  type SecretRecord,
} from "../../schemas/secret.ts";
import type { Bucket, Change } from "../bus/kv.ts";
import type { Unseal } from "../bus/sealing-keys.ts";

/** Opens secrets for the replicas that may have them. */
export interface SecretReader {
  /** The value; throws `secret_not_found`, or `internal` for one that this data folder's key does not open. */
  readonly read: (name: SecretName) => Buffer;
}

/** A value, and which of all values it is. */
export interface SecretValue {
  readonly value: Buffer;
  /** Later ones are larger; it never goes back, not even when a secret is removed and made again. */
  readonly version: number;
}

/** Opens secrets for replicas that must tell a newer value from an older one. */
export interface SecretValueReader {
  /** Throws as `SecretReader.read` does. */
  readonly readValue: (name: SecretName) => SecretValue;
}

/** The secrets of all namespaces: a copy of the bucket, sealed as they are there. */
export interface SecretStore extends SecretReader, SecretValueReader {
  readonly has: (name: SecretName) => boolean;
  /** The names in a namespace, sorted. */
  readonly list: (namespace: string) => readonly string[];
  /** Throws `secret_exists`, and `internal` for a box that does not open: nobody would learn of it before the next start. */
  readonly create: (name: SecretName, sealed: SealedBox) => Promise<void>;
  /** Throws `secret_not_found`, `internal` as above, or `conflict` when somebody was faster. */
  readonly update: (name: SecretName, sealed: SealedBox) => Promise<void>;
  /** Throws `secret_not_found`. */
  readonly remove: (name: SecretName) => Promise<void>;
  /** Calls `listener` when a secret has got another value, whoever wrote it. */
  readonly onChange: (listener: (name: SecretName) => void) => void;
  readonly stop: () => void;
}

/** What the store needs of its bucket. */
export type SecretBucket = Pick<Bucket<SecretRecord>, "create" | "update" | "remove" | "watch">;

interface Known {
  readonly revision: number;
  /** Undefined: removed by us, which the bucket has still to tell. */
  readonly record: SecretRecord | undefined;
}

const notFound = (name: SecretName): BuskerError =>
  new BuskerError("secret_not_found", `there is no secret ${formatSecretName(name)}`);

const exists = (name: SecretName): BuskerError =>
  new BuskerError("secret_exists", `secret ${formatSecretName(name)} exists already; update it`);

/** Opens the store; resolves when it has all there is. */
export const openSecretStore = async (bucket: SecretBucket, unseal: Unseal): Promise<SecretStore> => {
  const known = new Map<string, Known>();
  let listener: (name: SecretName) => void = () => {};
  let onCaughtUp: () => void = () => {};
  const caughtUp = new Promise<void>((resolve) => {
    onCaughtUp = resolve;
  });

  const take = (key: string, record: SecretRecord, revision: number): void => {
    if (revision <= (known.get(key)?.revision ?? 0)) return;
    known.set(key, { revision, record });
    // Told with the key's name: what stands in the value is its writer's word.
    listener(parseSecretKey(key));
  };
  const onChange = (change: Change<SecretRecord>): void => {
    if (change.kind === "put") take(change.entry.key, change.entry.value, change.entry.revision);
    else if (change.revision > (known.get(change.key)?.revision ?? 0)) known.delete(change.key);
  };
  const stop = await bucket.watch(onChange, onCaughtUp);
  await caughtUp;

  const find = (name: SecretName): SecretRecord | undefined => known.get(formatSecretName(name))?.record;
  const readValue = (name: SecretName): SecretValue => {
    const { record, revision: version } = known.get(formatSecretName(name)) ?? {};
    if (!record || version === undefined) throw notFound(name);
    return { value: unseal(name, record.sealed), version };
  };

  return {
    stop,
    has: (name) => isSecretName(name.name) && find(name) !== undefined,
    list: (namespace) =>
      [...known]
        .flatMap(([key, { record }]) => (record ? parseSecretKey(key) : []))
        .filter((name) => name.namespace === namespace)
        .map(({ name }) => name)
        .toSorted(),
    read: (name) => readValue(name).value,
    readValue,
    create: async (name, sealed) => {
      unseal(name, sealed);
      const key = formatSecretName(name);
      const now = new Date().toISOString();
      const record: SecretRecord = { ...name, sealed, version: 1, createdAt: now, updatedAt: now };
      const revision = await bucket.create(key, record).catch((error: unknown) => {
        throw error instanceof BuskerError && error.code === "conflict" ? exists(name) : error;
      });
      take(key, record, revision);
    },
    update: async (name, sealed) => {
      const key = formatSecretName(name);
      const before = known.get(key);
      if (!before?.record) throw notFound(name);
      unseal(name, sealed);
      const version = before.record.version + 1;
      const record: SecretRecord = { ...before.record, sealed, version, updatedAt: new Date().toISOString() };
      take(key, record, await bucket.update(key, record, before.revision));
    },
    remove: async (name) => {
      const key = formatSecretName(name);
      const before = known.get(key);
      if (!before?.record) throw notFound(name);
      await bucket.remove(key);
      known.set(key, { revision: before.revision, record: undefined });
    },
    onChange: (given) => {
      listener = given;
    },
  };
};
