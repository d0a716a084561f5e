import { randomBytes } from "node:crypto";
import type { FunctionName } from "../../schemas/names.ts";
import type { SampleData, SampleHead, SampleType } from "../../schemas/sample.ts";
import { metricSubject } from "../../schemas/subjects.ts";
import type { Bus } from "./connection.ts";
import { encodeEvent } from "./events.ts";

/** A type of event by which a source tells what it counted. */
export type CountedType = Exclude<SampleType, "io.busker.metric.deployed">;

/** What a source tells of one function, as far as the source knows it: the rest of the head is added here. */
export type Counted<T extends CountedType> = Omit<SampleData[T], Exclude<keyof SampleHead, "seconds">>;

/** The samples of one source about one function. */
export interface SampleSeries<T extends CountedType> {
  /** Publishes one; false while the bus is away: what was counted is to be kept for the next. */
  readonly send: (counted: Counted<T>) => boolean;
}

/** Sends samples so that each arrives, over losses of the server too. */
export interface SampleSender {
  /** Begins a series of its own, with its own numbers from 1. */
  readonly open: <T extends CountedType>(type: T, name: FunctionName, source: string) => SampleSeries<T>;
  readonly stop: () => void;
}

type Sent = ReturnType<typeof encodeEvent> & { readonly subject: string };

// How often the server is asked whether it has what was sent: nothing else says so, as streams of samples send no
// acknowledgement. A question a sample would double the messages.
const confirmEveryMs = 5000;
// A server that is silent counts as gone after 20 s.
const maxUnconfirmed = 10_000;

/**
 * Creates a sender. What the server has not confirmed when the connection breaks is sent again when it is back, with the
 * numbers it had, so that readers take what they have already for the repeats that they are.
 */
export const createSampleSender = (bus: Bus): SampleSender => {
  let unconfirmed: Sent[] = [];
  let askedMs = performance.now();
  const publish = ({ subject, payload, headers }: Sent): void => bus.nc.publish(subject, payload, { headers });
  const confirm = async (): Promise<void> => {
    askedMs = performance.now();
    const last = unconfirmed.at(-1);
    await bus.nc.flush();
    // What is no longer there was confirmed, or too much, before.
    if (last) unconfirmed = unconfirmed.slice(unconfirmed.indexOf(last) + 1);
  };
  const keep = (sent: Sent): void => {
    unconfirmed.push(sent);
    if (unconfirmed.length > maxUnconfirmed) unconfirmed.shift();
    // Rejects when the connection breaks: then all is sent again.
    if (performance.now() - askedMs > confirmEveryMs) confirm().catch(() => {});
  };
  const unlisten = bus.onChange((connected) => {
    if (connected) for (const sent of unconfirmed) publish(sent);
  });
  return {
    open: (type, name, source) => {
      const subject = metricSubject(name.namespace, name.name, source);
      const start = randomBytes(6).toString("base64url");
      let n = 0;
      return {
        send: (counted) => {
          if (!bus.isConnected()) return false;
          n += 1;
          const data = { start, n, ...counted } as never;
          const sent = { subject, ...encodeEvent(bus.source, { subject, type, data }) };
          publish(sent);
          keep(sent);
          return true;
        },
      };
    },
    stop: unlisten,
  };
};
