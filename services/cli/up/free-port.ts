import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { BuskerError } from "../../../schemas/errors.ts";

/** Everything the platform listens on is on this machine only. */
export const host = "127.0.0.1";

/** A port that somebody is to listen on: what for, and the variable that sets it. */
export interface WantedPort {
  readonly what: string;
  readonly key: string;
  /** 0: any free one. */
  readonly port: number;
  /** How long to wait for it, in milliseconds, when somebody else still has it. */
  readonly patienceMs: number;
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "this user may not listen there",
};
const lookMs = 50;
// Below those that systems give to connections: one of these would be gone by chance until somebody listens there.
const ownPorts = { from: 15_000, count: 15_000 };
const given = new Set<number>();

const tryPort = (port: number): Promise<number> =>
  new Promise((done, failed) => {
    const server = createServer();
    server.once("error", failed);
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(port)));
  });

const isInUse = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "EADDRINUSE";

/** One that is free, and that this process has given to nobody. */
const takeAny = async (): Promise<number> => {
  for (;;) {
    const port = ownPorts.from + randomInt(ownPorts.count);
    if (given.has(port)) continue;
    try {
      await tryPort(port);
      given.add(port);
      return port;
    } catch (error) {
      if (!isInUse(error)) throw error;
    }
  }
};

/** The port when it is free, a free one for 0; rejects with `conflict` naming the variable that sets another. */
export const takeFreePort = async ({ what, key, port, patienceMs }: WantedPort): Promise<number> => {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await (port === 0 ? takeAny() : tryPort(port));
    } catch (error) {
      const { code = "", message } = error as NodeJS.ErrnoException;
      const why = `${what} needs port ${port} of ${host}, and ${reasons[code] ?? message}; set ${key} to another`;
      if (performance.now() >= endMs) throw new BuskerError("conflict", `cannot start: ${why}`);
    }
    await wait(lookMs);
  }
};
