import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Server } from "node:net";
import { join } from "node:path";

/** A network namespace with nothing in it but its loopback; gone with the last process in it. */
export interface NetworkNamespace {
  /** Of the process that holds it. */
  readonly pid: number;
  /** A server of this process that listens inside. */
  readonly listen: (host: string) => Promise<{ readonly server: Server; readonly port: number }>;
  readonly close: () => Promise<void>;
}

const program = join(import.meta.dirname, "../fixtures/listen-inside.mjs");

const untilStarted = async (child: ChildProcess): Promise<number> => {
  const failed = once(child, "exit").then(([code]) => {
    throw new Error(`could not make a network namespace: unshare ended with ${String(code)}`);
  });
  await Promise.race([once(child, "message"), failed]);
  if (child.pid === undefined) throw new Error("could not make a network namespace");
  return child.pid;
};

/** Makes one; needs root. */
export const openNetworkNamespace = async (): Promise<NetworkNamespace> => {
  const child = spawn("unshare", ["--net", process.execPath, program], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const pid = await untilStarted(child);
  return {
    pid,
    listen: async (host) => {
      child.send({ host });
      // A socket stays in the namespace it was made in, whoever accepts its connections.
      const [{ port }, server] = (await once(child, "message")) as [{ port: number }, Server];
      return { server, port };
    },
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.disconnect();
      await exited;
    },
  };
};
