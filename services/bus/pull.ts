import { nuid } from "nats";
import { inboxPrefix } from "../../schemas/subjects.ts";
import type { Bus, BusMessage } from "./connection.ts";
import { type Handout, readHandout } from "./handout.ts";
import { headerStatus, headerText } from "./headers.ts";
import { nextSubject } from "./jetstream-subjects.ts";
import { createFaultReporter } from "./report-fault.ts";

/** How a pull ended: as many came as were asked for; there were no more; nobody answered, or the consumer is gone. */
export type PullEnd = "full" | "empty" | "gone";

/** One request to a consumer. */
export interface PullRequest {
  readonly consumer: string;
  /** The most messages that shall come. */
  readonly batch: number;
  /** Called once, with how many came. */
  readonly ended: (end: PullEnd, came: number) => void;
}

/**
 * Takes what is in consumers now: one inbox for all of them and nothing kept between requests, where the library's `fetch`
 * makes a subscription, timers and an iterator each time. There is at most one request to a consumer at a time.
 */
export interface Puller {
  readonly pull: (request: PullRequest) => void;
  /** Ends the requests under way as `gone`. */
  readonly close: () => void;
}

/** Is given each message that comes, also one whose request is over. */
export type TakeMessage = (message: BusMessage, handout: Handout) => void;

interface OpenPull extends PullRequest {
  readonly token: string;
  readonly giveUpMs: number;
  came: number;
}

// A consumer that is not there says nothing at all (seen on 2.9.10).
const silenceMs = 2000;
// Silences are looked at this often: one coarse timer, not one a request.
const tickMs = 250;
const radix = 36;
// Ends of a request in the server's words: no messages, none any more.
const nothingThere: ReadonlySet<number> = new Set([404, 408]);

/** Opens a puller from one stream. */
export const openPuller = (bus: Bus, stream: string, take: TakeMessage): Puller => {
  const inbox = `${inboxPrefix(bus.user)}.pull.${nuid.next()}`;
  const open = new Map<string, OpenPull>();
  const report = createFaultReporter();
  let last = 0;
  const end = (pull: OpenPull, how: PullEnd): void => {
    open.delete(pull.consumer);
    pull.ended(how, pull.came);
  };
  const onStatus = (message: BusMessage): void => {
    const text = headerText(message);
    const token = message.subject.slice(inbox.length + 1);
    const pull = [...open.values()].find((candidate) => candidate.token === token);
    if (pull) end(pull, nothingThere.has(headerStatus(text)) ? "empty" : "gone");
  };
  const onMessage = (message: BusMessage): void => {
    const handout = readHandout(message.reply);
    if (!handout) return onStatus(message);
    const pull = open.get(handout.consumer);
    if (pull) pull.came += 1;
    take(message, handout);
    if (pull && pull.came >= pull.batch) end(pull, "full");
  };
  const subscription = bus.nc.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error) return report(`could not take from stream ${stream}`, error);
      onMessage(message);
    },
  });
  const endWhere = (isOver: (pull: OpenPull) => boolean): void => {
    const over = [...open.values()].filter(isOver);
    for (const pull of over) end(pull, "gone");
  };
  const timer = setInterval(() => {
    const now = Date.now();
    endWhere((pull) => now >= pull.giveUpMs);
  }, tickMs).unref();
  const unlisten = bus.onChange((connected) => {
    if (!connected) endWhere(() => true);
  });
  return {
    pull: (request) => {
      if (!bus.isConnected() || bus.nc.isClosed()) return request.ended("gone", 0);
      const other = open.get(request.consumer);
      if (other) end(other, "gone");
      const token = (last += 1).toString(radix);
      open.set(request.consumer, { ...request, token, giveUpMs: Date.now() + silenceMs, came: 0 });
      bus.nc.publish(nextSubject(stream, request.consumer), JSON.stringify({ batch: request.batch, no_wait: true }), {
        reply: `${inbox}.${token}`,
      });
    },
    close: () => {
      clearInterval(timer);
      unlisten();
      subscription.unsubscribe();
      endWhere(() => true);
    },
  };
};
