import { createInbox } from "nats";
import { callReplyPrefix, invokeSubject } from "../../schemas/subjects.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import { type Invoker, openInvoker } from "../../services/bus/invoker.ts";
import { ensureTopology } from "../../services/bus/topology.ts";
import { startTestNats } from "../../test/support/nats.ts";
import { invocationOf, openTestReplica, type TestReplica, timerMode } from "../../test/support/replicas.ts";
import { type Distribution, distribution, exponential, seededRandom } from "./statistics.ts";

/*
 * Who gets a call: slots against a queue group's random choice (design §3). Eight real replicas of one slot each on a
 * real server, in one process; a call's work is a timer with exponential length. Calls arrive at random times.
 */

const replicas = 8;
const meanServiceMs = 20;
const name = { namespace: "openfaas-fn", name: "timer" };

/** One line of the table. */
export interface DispatchResult extends Distribution {
  readonly title: string;
  /** Messages published by callers and replicas for one call; 2 is the least. */
  readonly messagesPerCall: number;
}

type Call = (caller: number, done: () => void) => void;

/** Lets `count` calls arrive at random at `load` (1: all replicas always busy) and takes the time of each. */
const drive = async (count: number, load: number, callers: number, call: Call): Promise<number[]> => {
  const random = seededRandom(42);
  const meanGapMs = meanServiceMs / (replicas * load);
  const times: number[] = [];
  const startMs = performance.now();
  let atMs = 0;
  await new Promise<void>((resolve) => {
    const next = (started: number): void => {
      if (started === count) return;
      atMs += exponential(random, meanGapMs);
      setTimeout(
        () => {
          const begunMs = performance.now();
          call(Math.floor(random() * callers), () => {
            times.push(performance.now() - begunMs);
            if (times.length === count) resolve();
          });
          next(started + 1);
        },
        Math.max(0, startMs + atMs - performance.now()),
      );
    };
    next(0);
  });
  return times;
};

const throughInvokers =
  (invokers: readonly Invoker[]): Call =>
  (caller, done) => {
    invokers[caller]?.invoke(invocationOf(name), (result) => {
      if (result.kind === "failed") throw result.error;
      if (result.reply.head.status !== 200) throw new Error(`status ${result.reply.head.status}`);
      done();
    });
  };

/** Workers as a plain queue group has them: each takes what it is dealt, one at a time, and the rest waits with it. */
const openRandomChoice = async (buses: readonly Bus[], subject: string): Promise<void> => {
  for (const [index, bus] of buses.entries()) {
    const random = seededRandom(index + 1);
    const queue: string[] = [];
    let busy = false;
    const work = (): void => {
      const reply = queue.shift();
      if (reply === undefined) return;
      busy = true;
      setTimeout(
        () => {
          busy = false;
          bus.nc.publish(reply);
          work();
        },
        exponential(random, meanServiceMs),
      );
    };
    bus.nc.subscribe(subject, {
      queue: "random",
      callback: (_error, message) => {
        if (message.reply) queue.push(message.reply);
        if (!busy) work();
      },
    });
    await bus.nc.flush();
  }
};

const throughQueueGroup = (bus: Bus, subject: string): Call => {
  const prefix = createInbox(callReplyPrefix(bus.user, name.namespace, name.name));
  const waiting = new Map<string, () => void>();
  bus.nc.subscribe(`${prefix}.*`, {
    callback: (_error, message) => {
      waiting.get(message.subject)?.();
      waiting.delete(message.subject);
    },
  });
  let last = 0;
  return (_caller, done) => {
    const reply = `${prefix}.${(last += 1)}`;
    waiting.set(reply, done);
    bus.nc.publish(subject, "", { reply });
  };
};

const messagesSent = (buses: readonly Bus[]): number => buses.reduce((sum, { nc }) => sum + nc.stats().outMsgs, 0);

/** Runs the comparison and gives a line for each way. */
export const benchDispatch = async (count: number, load: number): Promise<DispatchResult[]> => {
  const nats = await startTestNats();
  const open = (user: "provider" | "gateway"): Promise<Bus> =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: `bench-${user}` });
  const admin = await open("provider");
  await ensureTopology(admin);
  const workers: TestReplica[] = [];
  for (let index = 0; index < replicas; index += 1) {
    const random = seededRandom(index + 1);
    const mode = timerMode(() => exponential(random, meanServiceMs));
    workers.push(await openTestReplica({ nats, function: name, id: `timer-${index}`, slots: 1, mode }));
  }
  const callers: Bus[] = [];
  for (let index = 0; index < 3; index += 1) callers.push(await open("gateway"));
  const dealers: Bus[] = [];
  const results: DispatchResult[] = [];
  const everybody = (): Bus[] => [...workers.map(({ bus }) => bus), ...callers, ...dealers];
  const measure = async (title: string, callerCount: number, call: Call): Promise<void> => {
    await drive(50, 0.3, callerCount, call);
    const before = messagesSent(everybody());
    const startMs = performance.now();
    const times = await drive(count, load, callerCount, call);
    // Samples and batches of finished calls are not messages of a call: at most five a replica and second.
    const background = ((performance.now() - startMs) / 1000) * replicas * 5;
    const sent = messagesSent(everybody()) - before - background;
    results.push({ title, ...distribution(times), messagesPerCall: sent / count });
  };
  const invokersOf = (buses: readonly Bus[]): Invoker[] => buses.map((bus) => openInvoker(bus));
  const one = invokersOf(callers.slice(0, 1));
  await measure("slots, one caller", 1, throughInvokers(one));
  for (const invoker of one) invoker.close();
  const three = invokersOf(callers);
  await measure("slots, three callers", 3, throughInvokers(three));
  for (const invoker of three) invoker.close();
  for (let index = 0; index < replicas; index += 1) dealers.push(await open("provider"));
  const subject = invokeSubject(name.namespace, "dealt");
  await openRandomChoice(dealers, subject);
  if (callers[0]) await measure("queue group, random choice", 1, throughQueueGroup(callers[0], subject));
  for (const worker of workers) await worker.close();
  for (const bus of [...callers, ...dealers, admin]) await bus.close();
  await nats.stop();
  return results;
};
