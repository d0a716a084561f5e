import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import Docker from "dockerode";
import { replacePrivately } from "../../bus/trust-files.ts";
import { describeError, type Log } from "../../runtime/log.ts";
import { platformLabel } from "../container/platform-id.ts";
import { type AddressRange, createBusNetwork, findBusNetwork, rangeOf } from "./bus-network.ts";

/** Whose network is kept. */
export interface BusNetworkKeeping {
  readonly platform: string;
  /** Where the network's addresses are remembered: nobody else knows them when it is gone. */
  readonly dataFolder: string;
  readonly log: Log;
  /** Default: the engine that the standard variables name. */
  readonly docker?: Docker;
}

// Until then nobody who has lost nats-server finds it again.
const lookEveryMs = 3000;

const fileIn = (dataFolder: string): string => join(dataFolder, "bus-network.json");

const readRange = async (dataFolder: string): Promise<AddressRange | undefined> => {
  try {
    return JSON.parse(await readFile(fileIn(dataFolder), "utf8")) as AddressRange;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
};

/** Forgets the addresses, so that nobody makes the network again: to be called before it is removed. */
export const forgetBusNetwork = (dataFolder: string): Promise<void> => rm(fileIn(dataFolder), { force: true });

/** Looks once: remembers the network's addresses while it is there, and makes it with these when it is gone. */
const keepOnce = async ({ platform, dataFolder, log, docker = new Docker() }: BusNetworkKeeping): Promise<void> => {
  const facts = await findBusNetwork(docker, platform);
  const known = await readRange(dataFolder);
  if (!facts) {
    if (!known) return;
    await createBusNetwork(docker, platform, known);
    return log.warn("the network on which nats-server listens was removed; made it again", { ...known });
  }
  const range = facts.Labels?.[platformLabel] === platform ? rangeOf(facts) : undefined;
  if (range && range.Gateway !== known?.Gateway) {
    const { Subnet, Gateway } = range;
    await replacePrivately(fileIn(dataFolder), JSON.stringify({ Subnet, Gateway }));
  }
};

/**
 * Makes the network that `ensureBusNetwork` has made again, with the same addresses, when somebody has removed it: no
 * container is ever in it, so that `docker network prune` takes it, and nats-server with it out of everybody's reach. Does
 * nothing where there was none: nats-server listens elsewhere. Needs no bus. Resolves after the first look, whatever came
 * of it; gives what ends it.
 */
export const keepBusNetwork = async (keeping: BusNetworkKeeping): Promise<() => Promise<void>> => {
  const { log } = keeping;
  let told: string | undefined;
  const look = async (): Promise<void> => {
    try {
      await keepOnce(keeping);
      told = undefined;
    } catch (cause) {
      const error = describeError(cause);
      if (error !== told)
        log.warn("could not see to the network on which nats-server listens; it is tried again", { error });
      told = error;
    }
  };
  let work = look();
  await work;
  const timer = setInterval(() => {
    work = work.then(look);
  }, lookEveryMs);
  return async () => {
    clearInterval(timer);
    await work;
  };
};
