import { jetstream, type JetStreamClient } from "@nats-io/jetstream";
import { TimeoutError } from "nats";
import type { Bus } from "./connection.ts";

// An answer takes milliseconds. In a cluster that has lost a server, 2.9 gives every third new consumer to the dead one
// (seen on 2.9.10), and nobody answers for it: the sooner it is tried again, the better.
const clusterTimeoutMs = 1500;
const usualTimeoutMs = 5000;

const attempts = 8;

/** Whether the server that we are connected to is one of several. */
export const isClustered = (bus: Bus): boolean => bus.nc.info?.cluster !== undefined;

/** JetStream for what follows a stream or a bucket. */
export const followerJetStream = (bus: Bus): JetStreamClient =>
  jetstream(bus.nc, { timeout: isClustered(bus) ? clusterTimeoutMs : usualTimeoutMs });

/** Makes a consumer by `open`; on a cluster, where it may be given to a server that is dead, several times. */
export const openPatiently = async <T>(bus: Bus, open: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await open();
    } catch (error) {
      if (!isClustered(bus) || !(error instanceof TimeoutError) || attempt === attempts) throw error;
    }
  }
};
