import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";
import type { StoreDefinition } from "../../schemas/topology.ts";
import { askJetStream } from "./ask-jetstream.ts";
import type { Bus } from "./connection.ts";
import { isNoMessage } from "./jetstream-errors.ts";
import { storeStream } from "./jetstream-subjects.ts";
import { chunksSubject } from "./object-stream.ts";

/** What a store has, its remains included. */
export interface StoreSurvey {
  readonly objects: readonly { readonly name: string; readonly putMs: number; readonly subjects: readonly string[] }[];
  /** Of no object: what an upload under way or one that was broken off has written, and what removals leave behind. */
  readonly strays: readonly string[];
}

/** Looks after a store: finds what is in it, and takes it out without a trace. */
export interface StoreKeeper {
  readonly survey: () => Promise<StoreSurvey>;
  /** When the newest message of a subject was written, milliseconds since the epoch; undefined when there is none. */
  readonly newestMs: (subject: string) => Promise<number | undefined>;
  readonly purge: (subject: string) => Promise<void>;
}

// What the library calls an object's description (ADR-20 of nats-architecture-and-design).
const metaSubject = (bucket: string, name: string): string =>
  `$O.${bucket}.M.${Buffer.from(name).toString("base64").replaceAll("+", "-").replaceAll("/", "_")}`;

/** Opens the keeper of a store. */
export const openStoreKeeper = async (bus: Bus, definition: StoreDefinition): Promise<StoreKeeper> => {
  const { name: bucket } = definition;
  const stream = storeStream(bucket);
  const ask = <R>(what: string, act: () => Promise<R>): Promise<R> =>
    askJetStream(bus, `could not ${what} store ${bucket}`, act);
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const store = await ask("open", () => new Objm(jetstream(bus.nc)).open(bucket));
  return {
    survey: () =>
      ask("look through", async () => {
        // First: what comes after is of no interest.
        const { state } = await manager.streams.info(stream, { subjects_filter: `$O.${bucket}.>` });
        const objects = (await store.list()).map(({ name, nuid, mtime }) => ({
          name,
          putMs: Date.parse(mtime),
          // The description first, so that nobody finds an object without its content.
          subjects: [metaSubject(bucket, name), chunksSubject({ bucket, nuid })],
        }));
        const known = new Set(objects.flatMap(({ subjects }) => subjects));
        return { objects, strays: Object.keys(state.subjects ?? {}).filter((subject) => !known.has(subject)) };
      }),
    newestMs: (subject) =>
      ask("look into", async () => {
        const message = await manager.streams.getMessage(stream, { last_by_subj: subject }).catch((cause: unknown) => {
          if (isNoMessage(cause)) return null;
          throw cause;
        });
        return message?.time.getTime();
      }),
    purge: (subject) =>
      ask("clear up", async () => {
        await manager.streams.purge(stream, { filter: subject });
      }),
  };
};
