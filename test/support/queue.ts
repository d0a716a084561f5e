import { jetstreamManager } from "@nats-io/jetstream";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "../../services/bus/connection.ts";
import { decodeDurable, type DurableCall } from "../../services/bus/durable-call.ts";

const queue = streams.INVOCATIONS.name;

/** Takes everything out of the queue of durable calls, in its order. */
export const takeQueued = async (bus: Bus): Promise<DurableCall[]> => {
  const { streams: manager } = await jetstreamManager(bus.nc);
  const calls: DurableCall[] = [];
  for (;;) {
    const { state } = await manager.info(queue);
    if (state.messages === 0) return calls;
    const message = await manager.getMessage(queue, { seq: state.first_seq });
    if (!message) throw new Error("the first message is gone");
    const { subject, data, header: headers } = message;
    calls.push(decodeDurable({ subject, data, headers } as Parameters<typeof decodeDurable>[0]));
    await manager.deleteMessage(queue, message.seq);
  }
};

/** Sets how many bytes a stream may hold; -1: any. */
export const limitStream = async (bus: Bus, stream: string, maxBytes: number): Promise<void> => {
  await (await jetstreamManager(bus.nc)).streams.update(stream, { max_bytes: maxBytes });
};

/** Messages in a stream, or those of it on a subject. */
export const countMessages = async (bus: Bus, stream: string, subject = ">"): Promise<number> => {
  const info = await (await jetstreamManager(bus.nc)).streams.info(stream, { subjects_filter: subject });
  return Object.values(info.state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
};
