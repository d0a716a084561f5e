import { setTimeout as wait } from "node:timers/promises";
import { describeError } from "../../runtime/log.ts";
import { type NatsServer, type NatsServerOptions, startNatsServer } from "../nats-server.ts";
import { nextWaitMs } from "./back-off.ts";
import type { Stoppable } from "./stop-list.ts";

/** A nats-server that is started again whenever it ends, on the same port. */
export interface KeptNats extends Stoppable {
  readonly url: string;
  readonly port: number;
}

/**
 * Starts nats-server and keeps it running until it is stopped. Rejects when the first start fails; later ones are tried
 * for ever, because everything on the bus waits for it and goes on by itself.
 */
export const keepNats = async (options: NatsServerOptions, report: (line: string) => void): Promise<KeptNats> => {
  const stopping = new AbortController();
  let server: NatsServer = await startNatsServer(options);
  const { url, port } = server;

  const restart = async (waitMs: number): Promise<void> => {
    report(`nats-server ended; starting it again in ${waitMs} ms`);
    try {
      await wait(waitMs, undefined, { signal: stopping.signal });
      const next = await startNatsServer({ ...options, port });
      if (stopping.signal.aborted) return await next.stop();
      server = next;
      void watch(performance.now(), waitMs);
    } catch (error) {
      if (stopping.signal.aborted) return;
      report(describeError(error));
      await restart(nextWaitMs(waitMs, 0));
    }
  };

  const watch = async (startedAtMs: number, waitMs?: number): Promise<void> => {
    await server.exited;
    if (!stopping.signal.aborted) running = restart(nextWaitMs(waitMs, performance.now() - startedAtMs));
  };

  let running: Promise<void> = watch(performance.now());
  return {
    name: "nats-server",
    url,
    port,
    stop: async () => {
      stopping.abort();
      await server.stop();
      await running;
    },
    kill: () => {
      stopping.abort();
      void server.kill();
    },
  };
};
