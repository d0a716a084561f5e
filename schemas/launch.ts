/** What a backend tells a watchdog at its start: the content of a file only this replica can read. */
export interface ReplicaLaunch {
  readonly replica: string;
  readonly namespace: string;
  readonly name: string;
  /** Id of the wish that made the function's spec. */
  readonly revision: string;
  readonly natsUrl: string;
  /** Path of this replica's NATS credentials; the file is renewed in place before they run out. */
  readonly credentialsFile: string;
  /** The function's one timeout, in milliseconds. */
  readonly timeoutMs: number;
  /** Folder the function starts in. */
  readonly cwd: string;
  /** The function's environment, whole: nothing of the watchdog's own is added. */
  readonly env: Readonly<Record<string, string>>;
  /** Resident bytes of the replica's whole process tree; absent: no limit, or the backend's own. */
  readonly memoryLimitBytes?: number;
}
