import { findByEnvironment, isAlive, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import type { ReplicaPaths } from "./replica-folder.ts";
import { markerVariable } from "./replica-launch.ts";

/** The line in the environment of every process of a replica. */
export const markerOf = (paths: ReplicaPaths): string => `${markerVariable}=${paths.tmp}`;

/** Ends whatever a replica has started, at once: its watchdog's group, and what carries its marker. */
export const sweepReplica = (paths: ReplicaPaths, leader?: number): void => {
  if (leader !== undefined) signalProcess(-leader, "SIGKILL");
  for (const pid of findByEnvironment(markerOf(paths))) signalProcess(pid, "SIGKILL");
};

// Nobody tells us of the end of a process that is not our child. At this interval a caller learns within the 100 ms
// promised, and a look at one process takes 15 us.
const lookMs = 50;

/** Watches processes that are not our children; `gone` is called once for each that has ended. */
export const watchAdopted = (gone: (id: string) => void) => {
  const processes = new Map<string, ProcessIdentity>();
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  const look = (): void => {
    for (const [id, identity] of processes) {
      if (isAlive(identity)) continue;
      processes.delete(id);
      gone(id);
    }
    if (processes.size === 0) stop();
  };
  return {
    watch: (id: string, identity: ProcessIdentity): void => {
      processes.set(id, identity);
      timer ??= setInterval(look, lookMs);
    },
    close: stop,
  };
};
