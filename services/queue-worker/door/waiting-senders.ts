import { createHash } from "node:crypto";
import { asyncAnyFilter, isReplySubject } from "../../../schemas/subjects.ts";
import { maxStreamHeaderBytes } from "../../../schemas/topology.ts";
import type { Bus } from "../../bus/connection.ts";
import { type HeaderBearer, headerPairs, headerText } from "../../bus/headers.ts";

/** Who has sent a message to the door and waits for an answer. */
export interface WaitingSenders {
  /** Where the answer to a message goes that was taken from the stream; undefined when nobody waits for one. */
  readonly claim: (message: SentMessage) => string | undefined;
  readonly stop: () => void;
}

type SentMessage = HeaderBearer & { readonly subject: string; readonly data: Uint8Array };

// Who has waited for longer has given up.
const patienceMs = 30_000;
// More than this many have a right to wait, and no right to this worker's memory.
const mostWaiting = 100_000;

const digestOf = (message: SentMessage): string =>
  createHash("sha1")
    .update(JSON.stringify([message.subject, ...headerPairs(headerText(message))]))
    .update(message.data)
    .digest("base64");

/**
 * Listens at the door. A stream does not keep a message's reply subject (nats-server 2.9), so every queue-worker hears the
 * message itself too, and whoever takes it from the stream answers. They are told apart by their content: of two that are the
 * same either answer is right for either sender, and each gets one. `onTooLarge` is told of what the stream does not take for
 * the size of its headers, which it does not say.
 */
export const openWaitingSenders = (
  bus: Bus,
  onTooLarge: (reply: string, bytes: number) => void,
  nowMs: () => number = Date.now,
): WaitingSenders => {
  const waiting = new Map<string, { readonly reply: string; readonly sinceMs: number }[]>();
  let count = 0;
  const forgetOld = (): void => {
    const oldestMs = nowMs() - patienceMs;
    // In the order in which they came.
    for (const [digest, [first, ...more]] of waiting) {
      if (!first || first.sinceMs > oldestMs) return;
      count -= 1;
      waiting.delete(digest);
      if (more.length > 0) waiting.set(digest, more);
    }
  };
  const subscription = bus.nc.subscribe(asyncAnyFilter, {
    callback: (error, message) => {
      // The sender chose this subject, and this service has wider rights: see isReplySubject.
      if (error || !message.reply || !isReplySubject(message.reply)) return;
      const headerLength = Buffer.byteLength(headerText(message));
      if (headerLength > maxStreamHeaderBytes) return onTooLarge(message.reply, headerLength);
      if (count >= mostWaiting) return;
      const digest = digestOf(message);
      const same = waiting.get(digest);
      const sender = { reply: message.reply, sinceMs: nowMs() };
      if (same) same.push(sender);
      else waiting.set(digest, [sender]);
      count += 1;
    },
  });
  const timer = setInterval(forgetOld, patienceMs / 10).unref();
  return {
    claim: (message) => {
      if (count === 0) return undefined;
      const digest = digestOf(message);
      const same = waiting.get(digest);
      const sender = same?.shift();
      if (sender) count -= 1;
      if (same?.length === 0) waiting.delete(digest);
      return sender?.reply;
    },
    stop: () => {
      clearInterval(timer);
      subscription.unsubscribe();
    },
  };
};
