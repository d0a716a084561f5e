import type { SamplingPolicy } from "./span.ts";

/** Secrets that the watchdog writes, because nobody else can: the folder is in memory, and its container's alone. */
export interface ReplicaSecrets {
  /** A file system in memory. */
  readonly folder: string;
  /** What opens the boxes of the order `secret`: 32 bytes in base64, this replica's own. */
  readonly key: string;
  /** By their names. */
  readonly files: Readonly<Record<string, SecretFile>>;
}

/** One value of a secret. */
export interface SecretFile {
  /** Later ones are larger; it never goes back, not even when a secret is removed and made again. */
  readonly version: number;
  /** In base64. */
  readonly value: string;
}

/** What a backend tells a watchdog at its start: the content of a file only this replica can read, or of its standard input. */
export interface ReplicaLaunch {
  readonly replica: string;
  readonly namespace: string;
  readonly name: string;
  /** Id of the wish that made the function's spec. */
  readonly revision: string;
  readonly natsUrl: string;
  /** Path of this replica's NATS credentials; the file is renewed in place before they run out. */
  readonly credentialsFile?: string;
  /**
   * The credentials themselves, where there is no file: the watchdog keeps them in memory, and is told their renewed JWT
   * by the order `renew`.
   */
  readonly credentials?: string;
  /** The function's one timeout, in milliseconds. */
  readonly timeoutMs: number;
  /** Its synchronous calls are put on the record with their bodies. */
  readonly recordsBodies?: true;
  /** Its synchronous calls are not put on the record at all. */
  readonly recordsNothing?: true;
  /** Its calls are traced, these of them; absent: tracing is off. */
  readonly traces?: SamplingPolicy;
  /** Folder the function starts in. */
  readonly cwd: string;
  /** The function's environment, whole: nothing of the watchdog's own is added but what `inherit` names. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables that the function gets from the watchdog's environment unless `env` has them: what an engine sets. */
  readonly inherit?: readonly string[];
  /** What the image itself would run, word by word; `fprocess` goes before it. */
  readonly command?: readonly string[];
  /** What must stand between `process.execPath` and a script, where that path is a loader and not Node. */
  readonly loaderArguments?: readonly string[];
  /** The function's code, to be fetched by who enrols before the function starts: where it goes, empty and writable. */
  readonly bundle?: { readonly digest: string; readonly folder: string };
  /** Link to be made once the replica serves, for an engine that looks at it, and where it points. */
  readonly readyLink?: { readonly path: string; readonly target: string };
  /** The memory limit that the engine holds, as it was written: the watchdog tells when the kernel has enforced it. */
  readonly engineMemoryLimit?: string;
  /** Secrets of a replica in a container; one that is a process has them in a folder that the provider writes. */
  readonly secrets?: ReplicaSecrets;
  /** Resident bytes of the replica's whole process tree; absent: no limit, or the backend's own. */
  readonly memoryLimitBytes?: number;
}
