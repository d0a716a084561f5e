import type { NatsConnection, Subscription, SubscriptionOptions } from "nats";
import { createFaultReporter } from "./report-fault.ts";

/**
 * Keeps a subscription's callback that throws from taking the connection with it: the client library runs callbacks
 * inside its read loop, ends that loop at the first exception, and then hears nothing until its pings time out (seen
 * with nats-core 3.4: one unreadable message made a process deaf for 20 s). What was thrown is reported; the message
 * counts as handled.
 */
export const guardCallbacks = (nc: NatsConnection, report = createFaultReporter()): void => {
  const subscribe = nc.subscribe.bind(nc);
  nc.subscribe = (subject: string, options: SubscriptionOptions = {}): Subscription => {
    const { callback } = options;
    if (!callback) return subscribe(subject, options);
    const tell = (on: string, cause: unknown): void => report(`a message on ${on} could not be handled`, cause);
    return subscribe(subject, {
      ...options,
      callback: (error, message) => {
        try {
          const ended: unknown = callback(error, message);
          if (ended instanceof Promise) ended.catch((cause: unknown) => tell(message.subject, cause));
        } catch (cause) {
          tell(message?.subject ?? subject, cause);
        }
      },
    });
  };
};
