import { type JetStreamManager, jetstreamManager, type MsgRequest } from "@nats-io/jetstream";
import type { StreamDefinition } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { headerText } from "./headers.ts";
import { asBusError } from "./jetstream-errors.ts";

/** Which one message: the newest of a subject, or its first from a place on. */
export type Query = { readonly last_by_subj: string } | { readonly next_by_subj: string; readonly seq: number };

/** What was found, and where it stands in its stream. */
export interface Stored<T> {
  readonly seq: number;
  readonly value: T;
}

/** Finds single messages of one stream. */
export interface MessageFinder {
  /** The stream's manager, for readers of more than one. */
  readonly manager: () => Promise<JetStreamManager>;
  /** Undefined when there is none; rejects with `bus_unavailable` and with what `decode` throws. */
  readonly get: <T>(query: Query, decode: (headers: string, data: Uint8Array) => T) => Promise<Stored<T> | undefined>;
}

/** Creates a finder of one stream's messages. */
export const createMessageFinder = (bus: Bus, stream: Pick<StreamDefinition, "name">): MessageFinder => {
  let managing: Promise<JetStreamManager> | undefined;
  const manager = (): Promise<JetStreamManager> => (managing ??= jetstreamManager(bus.nc, { checkAPI: false }));
  return {
    manager,
    get: async (query, decode) => {
      bus.assertConnected();
      // The library's type lacks the second form, which servers know since 2.9.
      const request = query as MsgRequest;
      const stored = await (await manager()).streams.getMessage(stream.name, request).catch((cause: unknown) => {
        throw asBusError(`could not read stream ${stream.name}`, cause);
      });
      if (!stored) return undefined;
      const headers = headerText({ headers: stored.header });
      return { seq: stored.seq, value: decode(headers, stored.data) };
    },
  };
};
