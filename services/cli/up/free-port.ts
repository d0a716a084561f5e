import { type AddressInfo, createServer } from "node:net";
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

const tryPort = (port: number): Promise<number> =>
  new Promise((done, failed) => {
    const server = createServer();
    server.once("error", failed);
    server.listen({ host, port, exclusive: true }, () => {
      const { port: taken } = server.address() as AddressInfo;
      server.close(() => done(taken));
    });
  });

/** The port when it is free, a free one for 0; rejects with `conflict` naming the variable that sets another. */
export const takeFreePort = async ({ what, key, port, patienceMs }: WantedPort): Promise<number> => {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await tryPort(port);
    } catch (error) {
      const { code = "", message } = error as NodeJS.ErrnoException;
      const why = `${what} needs port ${port} of ${host}, and ${reasons[code] ?? message}; set ${key} to another`;
      if (performance.now() >= endMs) throw new BuskerError("conflict", `cannot start: ${why}`);
    }
    await wait(lookMs);
  }
};
