import {
  callEventType,
  type EventType,
  functionEventType,
  replicaEventType,
  secretEventType,
} from "../../schemas/events.ts";
import { sampleSchemas } from "../../schemas/sample.ts";
import * as subjects from "../../schemas/subjects.ts";

/*
 * The channels of the bus. Every address is made by the function that makes the subjects, called with stand-ins for its
 * arguments, so that it cannot say anything else than the code does.
 */

/** A stand-in for each parameter: something that the subject functions take, and that occurs nowhere else. */
export const standIns = {
  namespace: "p-namespace",
  function: "p-function",
  replica: "p-replica",
  callId: "p-call",
  user: "p-user",
  connection: "p-connection",
  stream: "p-stream",
} as const;

/** A parameter of an address. */
export type Parameter = keyof typeof standIns | "state" | "token";

const { namespace, function: name, replica, callId, user, connection, stream } = standIns;

/** Puts parameters where the stand-ins are. */
export const toAddress = (subject: string): string =>
  Object.entries(standIns).reduce((text, [parameter, standIn]) => text.replaceAll(standIn, `{${parameter}}`), subject);

/** A channel before it is written out. */
export interface Channel {
  readonly subject: string;
  readonly description: string;
  readonly messages: readonly string[];
  /** The functions and constants of schemas/subjects.ts that concern it, with what they give. */
  readonly code: Readonly<Record<string, string | readonly string[]>>;
  /** Queue group in which it is taken. */
  readonly queue?: string;
  /** The channel that answers come on. */
  readonly reply?: { readonly channel: string; readonly messages: readonly string[] };
  /** Values of the parameter `state`. */
  readonly states?: readonly string[];
}

const eventChannels = <K extends string>(
  keys: readonly K[],
  make: (key: K) => Omit<Channel, "messages"> & { readonly type: EventType },
): Readonly<Record<string, Channel>> =>
  Object.fromEntries(
    keys.map((key) => {
      const { type, ...channel } = make(key);
      return [type.replace("io.busker.", ""), { ...channel, messages: [type] }];
    }),
  );

const invoking: Readonly<Record<string, Channel>> = {
  invoke: {
    subject: subjects.invokeSubject(namespace, name),
    description: "One synchronous invocation, to any replica. A payload without any header is a valid one",
    messages: ["invocation"],
    queue: subjects.replicaQueueGroup,
    reply: { channel: "callReply", messages: ["reply"] },
    code: {
      invokeSubject: subjects.invokeSubject(namespace, name),
      invokeAnyFilter: subjects.invokeAnyFilter,
      replicaQueueGroup: subjects.replicaQueueGroup,
    },
  },
  invokeReplica: {
    subject: subjects.invokeReplicaSubject(namespace, name, replica),
    description: "One synchronous invocation, to the replica whose free slot the caller knows",
    messages: ["invocation"],
    reply: { channel: "callReply", messages: ["reply"] },
    code: {
      invokeReplicaSubject: subjects.invokeReplicaSubject(namespace, name, replica),
      invokeFilter: subjects.invokeFilter(namespace, name),
    },
  },
  callInbox: {
    subject: `${subjects.invokeReplicaSubject(namespace, name, replica)}.{token}`,
    description: "To one streamed call in a replica, which has named this subject in its first frame",
    messages: ["frame"],
    code: {
      callInboxSubject: subjects.callInboxSubject(namespace, name, replica, "token").replace(/token$/, "{token}"),
      callInboxFilter: subjects.callInboxFilter(namespace, name, replica),
    },
  },
  callReply: {
    subject: `${subjects.callReplyPrefix(user, namespace, name)}.${connection}.{token}`,
    description:
      "What belongs to calls of one function and comes back to one caller: replies, offers of a slot. The function's " +
      "name is in it, so that a replica can be allowed to answer the callers of its own function and nobody else",
    messages: ["reply", "replicaLoad"],
    code: {
      callReplyPrefix: subjects.callReplyPrefix(user, namespace, name),
      callReplyOwnFilter: subjects.callReplyOwnFilter(user, connection),
      callReplyFilter: subjects.callReplyFilter(namespace, name),
      callReplyAnyFilter: subjects.callReplyAnyFilter,
    },
  },
  userReply: {
    subject: `${subjects.inboxPrefix(user)}.{token}`,
    description: "Answers of the server to one user of the platform: JetStream, KV, objects",
    messages: ["jetStreamAnswer"],
    code: { inboxPrefix: subjects.inboxPrefix(user), inboxFilter: subjects.inboxFilter(user) },
  },
  answer: {
    subject: `${subjects.inboxPrefix(user)}.answer.{token}`,
    description:
      "Answers of the provider and the scaler to one user of the platform, or to a replica that enrols; no function may publish there",
    messages: ["secretAnswer", "enrolAnswer", "bundleAnswer", "scaleExplanation"],
    code: {
      answerSubject: subjects.answerSubject(user, "token").replace(/token$/, "{token}"),
      answerAnyFilter: subjects.answerAnyFilter,
    },
  },
  plainReply: {
    subject: "_INBOX.{token}",
    description: "Where NATS' own clients take replies when nobody tells them otherwise",
    messages: ["reply", "secretAnswer", "jetStreamAnswer"],
    code: { plainInboxFilter: subjects.plainInboxFilter },
  },
  replicaControl: {
    subject: subjects.replicaControlSubject(replica),
    description: "To one replica, from callers: cancel a call, ping, reserve a slot or give it back",
    messages: ["control.cancel", "control.ping", "control.reserve", "control.withdraw"],
    reply: { channel: "callReply", messages: ["replicaLoad"] },
    code: {
      replicaControlSubject: subjects.replicaControlSubject(replica),
      replicaControlAnyFilter: subjects.replicaControlAnyFilter,
    },
  },
  replicaOrder: {
    subject: subjects.replicaOrderSubject(replica),
    description: "To one replica, from the provider: drain, go on with a renewed user JWT, take a secret's newer value",
    messages: ["control.drain", "control.freeze", "control.resume", "control.renew", "control.secret"],
    code: { replicaOrderSubject: subjects.replicaOrderSubject(replica) },
  },
  demand: {
    subject: subjects.demandSubject(namespace, name),
    description:
      "Somebody wants this function and knows nobody who is ready: replicas that are announce themselves, the provider starts one",
    messages: ["io.busker.demand"],
    code: { demandSubject: subjects.demandSubject(namespace, name), demandAnyFilter: subjects.demandAnyFilter },
  },
};

const durable: Readonly<Record<string, Channel>> = {
  async: {
    subject: subjects.asyncSubject(namespace, name),
    description:
      "One durable invocation, from anybody: a payload without any header is a valid one. Who names a reply subject is " +
      "answered there, as JetStream does, when it is accepted; its X-Call-Id, or an event's ce-source and ce-id, swallow repeats",
    messages: ["invocation"],
    reply: { channel: "plainReply", messages: ["jetStreamAnswer"] },
    code: { asyncSubject: subjects.asyncSubject(namespace, name), asyncAnyFilter: subjects.asyncAnyFilter },
  },
  ...Object.fromEntries(
    subjects.priorities.map((priority) => [
      `queue.${priority}`,
      {
        subject: subjects.queueSubject(namespace, name, priority),
        description: `A durable invocation that was accepted and is not over, of ${priority} priority`,
        messages: ["invocation"],
        reply: { channel: "userReply", messages: ["jetStreamAnswer"] },
        code: {
          queueSubject: subjects.queueSubject(namespace, name, priority),
          queueFilter: subjects.queueFilter(namespace, name),
          queueAnyFilter: subjects.queueAnyFilter,
        },
      },
    ]),
  ),
  ...eventChannels(subjects.durableCallStates, (state) => ({
    type: callEventType(state),
    subject: subjects.callSubject(state, namespace, name),
    description: `A durable invocation is ${state}`,
    code: {
      callSubject: subjects.callSubject(state, namespace, name),
      callFilter: subjects.callFilter(namespace, name),
      callStateFilter: subjects.callStateFilter(state),
      callStateFilters: subjects.callStateFilters,
      callAnyFilter: subjects.callAnyFilter,
    },
  })),
  "call.done": {
    subject: subjects.callSubject("done", namespace, name),
    description: "Synchronous invocations that a replica has finished, in batches of a quarter of a second",
    messages: ["io.busker.call.done"],
    code: { callSubject: subjects.callSubject("done", namespace, name), callDoneFilter: subjects.callDoneFilter },
  },
  recorded: {
    subject: subjects.recordedSubject(namespace, name, callId),
    description: "A synchronous invocation with its bodies, of a function that records them",
    messages: ["callRecord"],
    code: {
      recordedSubject: subjects.recordedSubject(namespace, name, callId),
      recordedFilter: subjects.recordedFilter(namespace, name),
      recordedCallFilter: subjects.recordedCallFilter(callId),
      recordedAnyFilter: subjects.recordedAnyFilter,
    },
  },
  result: {
    subject: subjects.resultSubject(callId),
    description: "The record of a durable invocation: its state, and at its end its response",
    messages: ["callRecord"],
    code: { resultSubject: subjects.resultSubject(callId), resultAnyFilter: subjects.resultAnyFilter },
  },
  part: {
    subject: subjects.partsSubject(callId, 1).replace(/1$/, "{token}"),
    description: "A response that is large or is being written, in parts; the last token is the attempt's number",
    messages: ["partFrame"],
    code: {
      partsSubject: subjects.partsSubject(callId, 1).replace(/1$/, "{token}"),
      partsAnyFilter: subjects.partsAnyFilter,
    },
  },
  dead: {
    subject: subjects.deadSubject(namespace, name, callId),
    description: "An invocation that ran out of attempts, whole, with all of them",
    messages: ["callRecord"],
    code: {
      deadSubject: subjects.deadSubject(namespace, name, callId),
      deadFilter: subjects.deadFilter(namespace, name),
      deadCallFilter: subjects.deadCallFilter(callId),
      deadAnyFilter: subjects.deadAnyFilter,
    },
  },
  outcome: {
    subject: subjects.outcomeSubject(namespace, name),
    description: "The outcome of a durable invocation that somebody is still to be told",
    messages: ["callRecord"],
    code: {
      outcomeSubject: subjects.outcomeSubject(namespace, name),
      outcomeAnyFilter: subjects.outcomeAnyFilter,
    },
  },
  cancel: {
    subject: subjects.cancelSubject(namespace, name),
    description: "To all queue-workers: a durable invocation was cancelled",
    messages: ["io.busker.cancel"],
    code: { cancelSubject: subjects.cancelSubject(namespace, name), cancelAnyFilter: subjects.cancelAnyFilter },
  },
};

const secretCode = (verb: subjects.SecretRequestVerb | subjects.SecretOutcomeVerb) => ({
  secretSubject: subjects.secretSubject(verb, namespace),
  secretVerbFilter: subjects.secretVerbFilter(verb),
  secretOutcomeFilters: subjects.secretOutcomeFilters,
});

const secrets: Readonly<Record<string, Channel>> = {
  ...eventChannels(subjects.secretRequestVerbs, (verb) => ({
    type: secretEventType(verb),
    subject: subjects.secretSubject(verb, namespace),
    description: `A request to one provider: ${verb} ${verb === "list" ? "a namespace's secrets" : "a secret"}`,
    queue: subjects.providerQueueGroup,
    reply: { channel: "answer", messages: ["secretAnswer"] },
    code: { ...secretCode(verb), providerQueueGroup: subjects.providerQueueGroup },
  })),
  ...eventChannels(subjects.secretOutcomeVerbs, (verb) => ({
    type: secretEventType(verb),
    subject: subjects.secretSubject(verb, namespace),
    description: `A secret was ${verb}`,
    code: secretCode(verb),
  })),
};

const scaling: Readonly<Record<string, Channel>> = {
  explain: {
    subject: subjects.explainSubject(namespace, name),
    description: "Why has this function as many replicas as it has? Answered by the active scaler",
    messages: ["io.busker.scaler.explain"],
    queue: subjects.scalerQueueGroup,
    reply: { channel: "answer", messages: ["scaleExplanation"] },
    code: {
      explainSubject: subjects.explainSubject(namespace, name),
      explainAnyFilter: subjects.explainAnyFilter,
      scalerQueueGroup: subjects.scalerQueueGroup,
    },
  },
};

const enrolling: Readonly<Record<string, Channel>> = {
  enrol: {
    subject: subjects.enrolSubject(namespace, name),
    description: "A replica asks one provider for its launch: one that its backend has not started itself",
    messages: ["io.busker.enrol"],
    queue: subjects.providerQueueGroup,
    reply: { channel: "answer", messages: ["enrolAnswer"] },
    code: {
      enrolSubject: subjects.enrolSubject(namespace, name),
      enrolAnyFilter: subjects.enrolAnyFilter,
      providerQueueGroup: subjects.providerQueueGroup,
    },
  },
  bundle: {
    subject: subjects.bundleSubject(namespace, name),
    description: "A replica that has enrolled asks one provider for a part of its function's bundle",
    messages: ["io.busker.bundle"],
    queue: subjects.providerQueueGroup,
    reply: { channel: "answer", messages: ["bundleAnswer"] },
    code: {
      bundleSubject: subjects.bundleSubject(namespace, name),
      bundleAnyFilter: subjects.bundleAnyFilter,
      providerQueueGroup: subjects.providerQueueGroup,
    },
  },
};

const telling: Readonly<Record<string, Channel>> = {
  ...eventChannels([...subjects.wishVerbs, ...subjects.outcomeVerbs], (verb) => ({
    type: functionEventType(verb),
    subject: subjects.functionSubject(verb, namespace, name),
    description: subjects.wishVerbs.some((wish) => wish === verb)
      ? `A wish: ${verb} a function`
      : `The outcome of a wish: ${verb}`,
    code: {
      functionSubject: subjects.functionSubject(verb, namespace, name),
      functionVerbFilter: subjects.functionVerbFilter(verb),
      functionAnyFilter: subjects.functionAnyFilter,
    },
  })),
  "function.progress": {
    subject: subjects.functionProgressSubject(namespace, name),
    description: "How far a wish is, while it is carried out: an image that is pulled",
    messages: ["io.busker.function.progress"],
    code: {
      functionProgressSubject: subjects.functionProgressSubject(namespace, name),
      functionProgressFilter: subjects.functionProgressFilter,
      functionAnyFilter: subjects.functionAnyFilter,
    },
  },
  ...eventChannels(subjects.replicaStates, (state) => ({
    type: replicaEventType(state),
    subject: subjects.replicaSubject(state, namespace, name, replica),
    description: `A replica is ${state}`,
    code: {
      replicaSubject: subjects.replicaSubject(state, namespace, name, replica),
      replicaOwnFilter: subjects.replicaOwnFilter(namespace, name, replica),
      replicaAnyFilter: subjects.replicaAnyFilter,
    },
  })),
  metric: {
    subject: subjects.metricSubject(namespace, name, replica),
    description:
      "What one source measures of one function: a replica, or as `gateway-<id>` and `queue-worker-<id>` a caller; a " +
      "sample a second. By the provider, that the function was deployed anew",
    messages: Object.keys(sampleSchemas),
    code: {
      metricSubject: subjects.metricSubject(namespace, name, replica),
      metricFilter: subjects.metricFilter(namespace, name),
      metricAnyFilter: subjects.metricAnyFilter,
    },
  },
  load: {
    subject: subjects.loadSubject(namespace, name),
    description: "One minute of a function's load, by the active scaler; of one that is not called, every six hours",
    messages: ["io.busker.load"],
    code: { loadSubject: subjects.loadSubject(namespace, name), loadAnyFilter: subjects.loadAnyFilter },
  },
  log: {
    subject: subjects.logSubject(namespace, name, replica),
    description: "Lines written by a function, in the order written",
    messages: ["io.busker.log"],
    code: {
      logSubject: subjects.logSubject(namespace, name, replica),
      logFilter: subjects.logFilter(namespace, name),
      logAnyFilter: subjects.logAnyFilter,
    },
  },
};

const keeping: Readonly<Record<string, Channel>> = {
  streamParts: {
    subject: subjects.keptPartsSubject(namespace, name, stream),
    description: "The parts of one kept answer: an event each, numbered from 1 on, and its end",
    messages: ["keptFrame"],
    code: {
      keptPartsSubject: subjects.keptPartsSubject(namespace, name, stream),
      keptFilter: subjects.keptFilter(namespace, name),
      keptPartsAnyFilter: subjects.keptPartsAnyFilter,
    },
  },
  streamHead: {
    subject: subjects.keptHeadSubject(namespace, name, stream),
    description: "The head of one kept answer, by itself, so that its newest parts cannot push it out",
    messages: ["keptFrame"],
    code: {
      keptHeadSubject: subjects.keptHeadSubject(namespace, name, stream),
      keptHeadAnyFilter: subjects.keptHeadAnyFilter,
    },
  },
};

/** Every channel by its name in the document. */
export const channels: Readonly<Record<string, Channel>> = {
  ...invoking,
  ...durable,
  ...telling,
  ...secrets,
  ...enrolling,
  ...scaling,
  ...keeping,
};
