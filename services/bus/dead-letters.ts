import { jetstreamManager } from "@nats-io/jetstream";
import type { CallError } from "../../schemas/call.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { deadAnyFilter, deadCallFilter, deadFilter, parseFunctionSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import { decodeRecord, type WholeRecord } from "./call-record-wire.ts";
import { decodeAttribute } from "./cloud-events.ts";
import { askJetStream } from "./ask-jetstream.ts";
import type { Bus } from "./connection.ts";
import { headerValue } from "./headers.ts";
import { isNoMessage } from "./jetstream-errors.ts";
import { readLast } from "./last-message.ts";
import { readBack } from "./read-back.ts";
import type { StreamMessage } from "./read-stream.ts";

/** A dead letter as it was found. */
export interface FoundLetter extends WholeRecord {
  /** Its number in the stream. */
  readonly seq: number;
}

/** What a list says of a dead letter. */
export interface LetterBrief {
  readonly id: string;
  readonly function: FunctionName;
  /** When it was buried, milliseconds since the epoch. */
  readonly atMs: number;
  readonly attempts?: number;
  readonly status?: number;
  readonly error?: CallError;
}

/** Calls, and outcomes, that ended dead: stream DEAD. */
export interface DeadLetters {
  /** The newest, `limit` at most, without reading a body; and whether there are more. */
  readonly list: (
    of: FunctionName | undefined,
    limit: number,
  ) => Promise<{ readonly letters: readonly LetterBrief[]; readonly more: boolean }>;
  readonly read: (id: string) => Promise<FoundLetter | undefined>;
  /** Takes a letter out, as long as it is this one; without effect when somebody else has. */
  readonly remove: (letter: Pick<FoundLetter, "seq">) => Promise<void>;
  /** Takes out all of a function; gives how many. */
  readonly purge: (of: FunctionName) => Promise<number>;
}

const toBrief = (message: StreamMessage): LetterBrief | undefined => {
  const name = parseFunctionSubject(message.subject, 1);
  const headers = message.headerText();
  const id = headerValue(headers, "ce-id");
  if (!name || id === undefined) return undefined;
  const brief = JSON.parse(headerValue(headers, wireHeaders.brief) ?? "{}") as Partial<LetterBrief>;
  return { id: decodeAttribute(id), function: name, atMs: message.atMs, ...brief };
};

// A letter lives this long at most (stream DEAD).
const oldest = (): Date => new Date(Date.now() - streams.DEAD.maxAgeMs);

/** Opens the dead letters. All reject with `bus_unavailable` when the stream cannot be reached now. */
export const openDeadLetters = async (bus: Bus): Promise<DeadLetters> => {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  const ask = <R>(what: string, act: () => Promise<R>): Promise<R> => askJetStream(bus, what, act);
  const isThere = async (seq: number): Promise<boolean> => {
    try {
      return (await manager.direct.getMessage(streams.DEAD.name, { seq })) !== null;
    } catch (cause) {
      if (isNoMessage(cause)) return false;
      throw cause;
    }
  };
  return {
    list: async (of, limit) => {
      const filter = of === undefined ? deadAnyFilter : deadFilter(of.namespace, of.name);
      const letters: LetterBrief[] = [];
      for await (const messages of readBack(bus, {
        stream: streams.DEAD,
        filter,
        since: oldest(),
        headersOnly: true,
      })) {
        for (const message of messages.toReversed()) {
          const brief = toBrief(message);
          if (brief) letters.push(brief);
        }
        if (letters.length > limit) break;
      }
      return { letters: letters.slice(0, limit), more: letters.length > limit };
    },
    read: async (id) => {
      const message = await readLast(bus, streams.DEAD, deadCallFilter(id));
      return message && { ...decodeRecord(message), seq: message.seq };
    },
    remove: ({ seq }) =>
      ask(`could not remove dead letter ${seq}`, async () => {
        try {
          await manager.streams.deleteMessage(streams.DEAD.name, seq, false);
        } catch (cause) {
          // One error stands for all that may go wrong with it: whether it is gone, only a look tells.
          if (await isThere(seq)) throw cause;
        }
      }),
    purge: async (of) => {
      const filter = deadFilter(of.namespace, of.name);
      const purged = await ask(`could not purge the dead letters of ${formatFunctionName(of)}`, () =>
        manager.streams.purge(streams.DEAD.name, { filter }),
      );
      return purged.purged;
    },
  };
};
