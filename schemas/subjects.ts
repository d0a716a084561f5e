import { BuskerError } from "./errors.ts";
import { checkName, checkToken } from "./names.ts";

/*
 * Every subject of the bus. A `…Subject` function gives one subject to publish to and checks its arguments; a
 * `…Filter` function gives the pattern to subscribe to. Names are DNS labels, so a token never holds a dot.
 */

const prefix = "busker";

/** Everything the platform says on the bus. */
export const platformAnyFilter = `${prefix}.>`;

const ofFunction = (what: string, namespace: string, name: string): string =>
  `${prefix}.${what}.${checkName("namespace", namespace)}.${checkName("function name", name)}`;

/** The queue group in which every ready replica of a function takes invocations. */
export const replicaQueueGroup = "replicas";

/** One synchronous invocation, to any replica: core request-reply, queue group `replicas`. */
export const invokeSubject = (namespace: string, name: string): string => ofFunction("invoke", namespace, name);

/** One synchronous invocation, to the replica whose free slot the caller knows. */
export const invokeReplicaSubject = (namespace: string, name: string, replica: string): string =>
  `${invokeSubject(namespace, name)}.${checkToken("replica id", replica)}`;

/** What a caller sends to one streamed call: credit, and parts of its body. The token is not to be guessed. */
export const callInboxSubject = (namespace: string, name: string, replica: string, token: string): string =>
  `${invokeReplicaSubject(namespace, name, replica)}.${checkToken("call inbox token", token)}`;

/** What callers send to the streamed calls of one replica. */
export const callInboxFilter = (namespace: string, name: string, replica: string): string =>
  `${invokeReplicaSubject(namespace, name, replica)}.*`;

/** Every invocation subject of one function. */
export const invokeFilter = (namespace: string, name: string): string => `${invokeSubject(namespace, name)}.>`;

/** Every invocation of every function: what the invoke-only credentials may publish to. */
export const invokeAnyFilter = `${prefix}.invoke.>`;

/** One durable invocation from anybody, kept by stream DOOR until a queue-worker has taken it in. */
export const asyncSubject = (namespace: string, name: string): string => ofFunction("async", namespace, name);

/** Every durable invocation from anybody. */
export const asyncAnyFilter = `${prefix}.async.*.*`;

/** How urgent a durable invocation is among those of its function. */
export const priorities = ["high", "normal", "low"] as const;
export type Priority = (typeof priorities)[number];

/** One durable invocation that was accepted, kept by stream INVOCATIONS until it is over. */
export const queueSubject = (namespace: string, name: string, priority: Priority): string =>
  `${ofFunction("queue", namespace, name)}.${priority}`;

/** Every durable invocation of one function that is not over. */
export const queueFilter = (namespace: string, name: string): string => `${ofFunction("queue", namespace, name)}.*`;

/** Every durable invocation that is not over. */
export const queueAnyFilter = `${prefix}.queue.*.*.*`;

/** The parts of a queue subject; undefined when it is none. */
export const parseQueueSubject = (
  subject: string,
): { readonly namespace: string; readonly name: string; readonly priority: Priority } | undefined => {
  const [head, what, namespace, name, last] = subject.split(".");
  const priority = priorities.find((known) => known === last);
  return head === prefix && what === "queue" && namespace && name && priority
    ? { namespace, name, priority }
    : undefined;
};

/** What a durable invocation may become, and `done`: a batch of finished synchronous ones. */
export const callStates = ["queued", "started", "retrying", "succeeded", "dead", "cancelled", "done"] as const;
export type CallState = (typeof callStates)[number];

/** What a durable invocation may become. */
export const durableCallStates = callStates.filter((state) => state !== "done");
export type DurableCallState = Exclude<CallState, "done">;

/** An invocation changed its state, kept by stream CALLS; a batch of finished ones (`done`), kept by stream RECORD. */
export const callSubject = (state: CallState, namespace: string, name: string): string =>
  ofFunction(`call.${state}`, namespace, name);

/** Every change of every call. */
export const callAnyFilter = `${prefix}.call.*.*.*`;

/** Every change of every call of one function. */
export const callFilter = (namespace: string, name: string): string => ofFunction("call.*", namespace, name);

/** Every batch of finished synchronous calls, written by replicas. */
export const callDoneFilter = `${prefix}.call.done.*.*`;

/** Every change of any durable call to this state. */
export const callStateFilter = (state: DurableCallState): string => `${prefix}.call.${state}.*.*`;

/** Every change of every durable call, written by services. */
export const callStateFilters: readonly string[] = durableCallStates.map(callStateFilter);

/**
 * A call id as one token: ids come from anybody and may be any text, so that every other character is written as `=` and
 * the two hexadecimal digits of each of its bytes. Throws `invalid_request` when it is empty or longer than 128 characters.
 */
export const callToken = (id: string): string => {
  if (id === "" || id.length > 128)
    throw new BuskerError("invalid_request", `a call id must have 1 to 128 characters; got ${id.length}`);
  // Encoded as bytes: half a surrogate pair, too, becomes something.
  return id.replaceAll(/[^A-Za-z0-9_-]+/g, (text) =>
    [...new TextEncoder().encode(text)].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join(""),
  );
};

/** A call id that `callToken` gives this token for. Throws `invalid_request` when it gives it for none. */
export const parseCallToken = (token: string): string => {
  try {
    return decodeURIComponent(token.replaceAll("=", "%"));
  } catch (cause) {
    throw new BuskerError("invalid_request", `"${token}" is no call id as a token`, { cause });
  }
};

/** The record of one durable invocation: its state, and at its end its response; the newest is kept by stream RESULTS. */
export const resultSubject = (callId: string): string => `${prefix}.result.${callToken(callId)}`;

/** Every record. */
export const resultAnyFilter = `${prefix}.result.*`;

/** The parts of a response that is large or is being written, of one attempt; kept by stream PARTS. */
export const partsSubject = (callId: string, attempt: number): string =>
  `${prefix}.part.${callToken(callId)}.${attempt}`;

/** Whose parts a subject holds; undefined when it is none of parts. */
export const parsePartsSubject = (
  subject: string,
): { readonly token: string; readonly attempt: number } | undefined => {
  const [head, what, token, attempt] = subject.split(".");
  return head === prefix && what === "part" && token ? { token, attempt: Number(attempt) } : undefined;
};

/** Every part of every response. */
export const partsAnyFilter = `${prefix}.part.*.*`;

/** A synchronous call with its bodies, told by a replica whose function records them; kept by stream RECORD. */
export const recordedSubject = (namespace: string, name: string, callId: string): string =>
  `${ofFunction("recorded", namespace, name)}.${callToken(callId)}`;

/** Every synchronous call of one function with its bodies. */
export const recordedFilter = (namespace: string, name: string): string =>
  `${ofFunction("recorded", namespace, name)}.*`;

/** Every synchronous call with its bodies. */
export const recordedAnyFilter = `${prefix}.recorded.*.*.*`;

/** The synchronous call of this id with its bodies, whatever its function. */
export const recordedCallFilter = (callId: string): string => `${prefix}.recorded.*.*.${callToken(callId)}`;

/** An invocation that ran out of attempts, kept by stream DEAD. */
export const deadSubject = (namespace: string, name: string, callId: string): string =>
  `${ofFunction("dead", namespace, name)}.${callToken(callId)}`;

/** Every dead letter of one function. */
export const deadFilter = (namespace: string, name: string): string => `${ofFunction("dead", namespace, name)}.*`;

/** The dead letter of this id, whatever its function. */
export const deadCallFilter = (callId: string): string => `${prefix}.dead.*.*.${callToken(callId)}`;

/** Every dead letter. */
export const deadAnyFilter = `${prefix}.dead.*.*.*`;

/** The outcome of a durable invocation that somebody is to be told, kept by stream OUTCOMES until it is. */
export const outcomeSubject = (namespace: string, name: string): string => ofFunction("outcome", namespace, name);

/** Every outcome that is to be told. */
export const outcomeAnyFilter = `${prefix}.outcome.*.*`;

/** To all queue-workers: a durable invocation was cancelled; who runs it stops it. */
export const cancelSubject = (namespace: string, name: string): string => ofFunction("cancel", namespace, name);

/** Every cancellation. */
export const cancelAnyFilter = `${prefix}.cancel.*.*`;

/** What may be wished of a function. */
export const wishVerbs = ["deploy", "update", "remove", "scale"] as const;
export type WishVerb = (typeof wishVerbs)[number];

/** How a wish ended. */
export const outcomeVerbs = ["deployed", "updated", "removed", "scaled", "failed"] as const;
export type OutcomeVerb = (typeof outcomeVerbs)[number];

/** The outcome verb of a wish that succeeded. */
export const outcomeOf = {
  deploy: "deployed",
  update: "updated",
  remove: "removed",
  scale: "scaled",
} as const satisfies Record<WishVerb, OutcomeVerb>;

/** A wish about a function or its outcome, kept by stream OPERATIONS. */
export const functionSubject = (verb: WishVerb | OutcomeVerb, namespace: string, name: string): string =>
  ofFunction(`function.${verb}`, namespace, name);

/** Every event with this verb. */
export const functionVerbFilter = (verb: WishVerb | OutcomeVerb): string => `${prefix}.function.${verb}.*.*`;

/** How far a wish about a function is, while it is carried out; kept by stream OPERATIONS as its subject is. */
export const functionProgressSubject = (namespace: string, name: string): string =>
  ofFunction("function.progress", namespace, name);

/** How far any wish is. */
export const functionProgressFilter = `${prefix}.function.progress.*.*`;

/** Every wish, every outcome, and how far it is until then. */
export const functionAnyFilter = `${prefix}.function.*.*.*`;

/** What the provider is asked about secrets. */
export const secretRequestVerbs = ["create", "update", "remove", "list"] as const;
export type SecretRequestVerb = (typeof secretRequestVerbs)[number];

/** What was done to a secret. */
export const secretOutcomeVerbs = ["created", "updated", "removed"] as const;
export type SecretOutcomeVerb = (typeof secretOutcomeVerbs)[number];

/**
 * A request about a namespace's secrets, answered by one provider and kept nowhere; or what was done, kept by stream
 * OPERATIONS. The secret's name, which may hold dots, is in the data.
 */
export const secretSubject = (verb: SecretRequestVerb | SecretOutcomeVerb, namespace: string): string =>
  `${prefix}.secret.${verb}.${checkName("namespace", namespace)}`;

/** Every secret event with this verb. */
export const secretVerbFilter = (verb: SecretRequestVerb | SecretOutcomeVerb): string => `${prefix}.secret.${verb}.*`;

/** A replica asks for its launch: one that its backend has not started itself. */
export const enrolSubject = (namespace: string, name: string): string => ofFunction("enrol", namespace, name);

/** Every request for a launch. */
export const enrolAnyFilter = `${prefix}.enrol.*.*`;

/** A replica that has enrolled asks for a part of its function's bundle. */
export const bundleSubject = (namespace: string, name: string): string => ofFunction("bundle", namespace, name);

/** Every request for a part of a bundle. */
export const bundleAnyFilter = `${prefix}.bundle.*.*`;

/** Everything that was done to secrets. */
export const secretOutcomeFilters: readonly string[] = secretOutcomeVerbs.map(secretVerbFilter);

/** The queue group of providers: one of them answers a request. */
export const providerQueueGroup = "providers";

/** States of a replica. */
export const replicaStates = ["starting", "ready", "draining", "frozen", "exited"] as const;
export type ReplicaState = (typeof replicaStates)[number];

/** A replica changed its state, kept by stream REPLICAS. */
export const replicaSubject = (state: ReplicaState, namespace: string, name: string, replica: string): string =>
  `${ofFunction(`replica.${state}`, namespace, name)}.${checkToken("replica id", replica)}`;

/** Every change of every replica. */
export const replicaAnyFilter = `${prefix}.replica.*.*.*.*`;

/** Every change of one replica, whatever the state. */
export const replicaOwnFilter = (namespace: string, name: string, replica: string): string =>
  `${prefix}.replica.*.${checkName("namespace", namespace)}.${checkName("function name", name)}.${checkToken("replica id", replica)}`;

/** Somebody wants this function and knows nobody who is ready: replicas that are announce themselves, the provider starts one. */
export const demandSubject = (namespace: string, name: string): string => ofFunction("demand", namespace, name);

/** Every demand. */
export const demandAnyFilter = `${prefix}.demand.*.*`;

/** Why has this function as many replicas as it has? Answered by the active scaler. */
export const explainSubject = (namespace: string, name: string): string =>
  ofFunction("scaler.explain", namespace, name);

/** The same of every function. */
export const explainAnyFilter = `${prefix}.scaler.explain.*.*`;

/** The queue group of scalers: the active one answers. */
export const scalerQueueGroup = "scalers";

/** Samples of one function by one source (a replica, a gateway, a queue-worker), kept by stream SAMPLES. */
export const metricSubject = (namespace: string, name: string, source: string): string =>
  `${ofFunction("metric", namespace, name)}.${checkToken("source", source)}`;

/** Every sample of one function. */
export const metricFilter = (namespace: string, name: string): string => `${ofFunction("metric", namespace, name)}.*`;

/** Every sample. */
export const metricAnyFilter = `${prefix}.metric.*.*.*`;

/** One minute of one function's load, told by the active scaler; kept by stream LOAD. */
export const loadSubject = (namespace: string, name: string): string => ofFunction("load", namespace, name);

/** The load of every function. */
export const loadAnyFilter = `${prefix}.load.*.*`;

/** Lines written by one replica's function, kept by stream LOGS. */
export const logSubject = (namespace: string, name: string, replica: string): string =>
  `${ofFunction("log", namespace, name)}.${checkToken("replica id", replica)}`;

/** Lines written by every replica of one function, or by one of them. */
export const logFilter = (namespace: string, name: string, replica = "*"): string =>
  `${ofFunction("log", namespace, name)}.${replica === "*" ? "*" : checkToken("replica id", replica)}`;

/** Every log line. */
export const logAnyFilter = `${prefix}.log.*.*.*`;

/** The parts of one kept answer, kept by stream STREAMS: an event each, and its end. The id is not to be guessed. */
export const keptPartsSubject = (namespace: string, name: string, id: string): string =>
  `${ofFunction("stream", namespace, name)}.${checkToken("stream id", id)}`;

/** The head of one kept answer: by itself, so that the newest parts cannot push it out. */
export const keptHeadSubject = (namespace: string, name: string, id: string): string =>
  `${keptPartsSubject(namespace, name, id)}.head`;

/** Heads and parts of every kept answer of one function. */
export const keptFilter = (namespace: string, name: string): string => `${ofFunction("stream", namespace, name)}.>`;

/** The parts of every kept answer. */
export const keptPartsAnyFilter = `${prefix}.stream.*.*.*`;

/** The head of every kept answer. */
export const keptHeadAnyFilter = `${prefix}.stream.*.*.*.head`;

/** To one replica, from callers: cancel a call, reserve or give back a slot. */
export const replicaControlSubject = (replica: string): string =>
  `${prefix}.replica-control.${checkToken("replica id", replica)}`;

/** Every replica's control subject: what a caller may publish to. */
export const replicaControlAnyFilter = `${prefix}.replica-control.*`;

/** To one replica, from the provider: drain. Who may call functions may not order their replicas about. */
export const replicaOrderSubject = (replica: string): string =>
  `${prefix}.replica-order.${checkToken("replica id", replica)}`;

/** Tells whether a subject matches a filter by NATS' rules: `*` stands for one token, a last `>` for one or more. */
export const isSubjectMatch = (filter: string, subject: string): boolean => {
  const wanted = filter.split(".");
  const tokens = subject.split(".");
  const open = wanted.at(-1) === ">";
  if (open ? tokens.length < wanted.length : tokens.length !== wanted.length) return false;
  return wanted.every((token, at) => token === "*" || (open && at === wanted.length - 1) || token === tokens[at]);
};

/** The four variable parts of a `busker.replica.…` subject; undefined when it is not one. */
export const parseReplicaSubject = (
  subject: string,
): { state: ReplicaState; namespace: string; name: string; replica: string } | undefined => {
  const [head, what, state, namespace, name, replica] = subject.split(".");
  if (head !== prefix || what !== "replica" || !namespace || !name || !replica) return undefined;
  const known = replicaStates.find((candidate) => candidate === state);
  return known && { state: known, namespace, name, replica };
};

/** The function and the source of a sample; undefined when it is none. */
export const parseMetricSubject = (
  subject: string,
): { readonly namespace: string; readonly name: string; readonly source: string } | undefined => {
  const [head, what, namespace, name, source] = subject.split(".");
  return head === prefix && what === "metric" && namespace && name && source ? { namespace, name, source } : undefined;
};

/** The parts of a subject that ends in `<ns>.<fn>`, `<skip>` tokens after `busker`; undefined when it has others. */
export const parseFunctionSubject = (
  subject: string,
  skip: number,
): { namespace: string; name: string } | undefined => {
  const tokens = subject.split(".");
  const namespace = tokens[1 + skip];
  const name = tokens[2 + skip];
  return tokens[0] === prefix && namespace && name ? { namespace, name } : undefined;
};

/**
 * Prefix of one user's reply subjects. Users of the platform do not use NATS' default `_INBOX`, so that nobody who is
 * given plain credentials can listen to their replies.
 */
export const inboxPrefix = (user: string): string => `_BUSKER.${checkToken("user", user)}`;

/** Everything that comes back to one user. */
export const inboxFilter = (user: string): string => `${inboxPrefix(user)}.>`;

/** Where one answer of the provider to a request of `user` comes; no function may publish there. */
export const answerSubject = (user: string, token: string): string =>
  `${inboxPrefix(user)}.answer.${checkToken("answer token", token)}`;

/** Every answer of the provider, whoever asked. */
export const answerAnyFilter = "_BUSKER.*.answer.*";

/** Where NATS' own clients take replies when nobody tells them otherwise. */
export const plainInboxFilter = "_INBOX.>";

/**
 * Prefix of the subjects on which `user` receives what belongs to calls of one function: replies, chunks, offers of a
 * slot. The function's name is in it, so that a replica can be allowed to answer the callers of its own function and
 * nobody else. (NATS' response permission cannot do that: it lets a replica publish to whatever reply subject a
 * message names, a KV key or the JetStream API included.)
 */
export const callReplyPrefix = (user: string, namespace: string, name: string): string =>
  `${inboxPrefix(user)}.call.${checkName("namespace", namespace)}.${checkName("function name", name)}`;

/** What belongs to calls of any function and is for one connection of `user`: the reply prefix, the connection's id, a token. */
export const callReplyOwnFilter = (user: string, connection: string): string =>
  `${inboxPrefix(user)}.call.*.*.${checkToken("connection id", connection)}.*`;

/** What belongs to calls of one function, whoever receives it. */
export const callReplyFilter = (namespace: string, name: string): string =>
  `_BUSKER.*.call.${checkName("namespace", namespace)}.${checkName("function name", name)}.>`;

/** What belongs to calls of any function, whoever receives it. */
export const callReplyAnyFilter = "_BUSKER.*.call.*.*.>";

/**
 * Whether a reply subject met in a message may be answered by a service. A service has wide rights, and the sender
 * chose this subject: answering `$KV.functions.x` would write a key on the sender's behalf.
 */
export const isReplySubject = (subject: string): boolean =>
  subject.startsWith("_INBOX.") || /^_BUSKER\.[A-Za-z0-9_-]+\.call\./.test(subject);

/** Whether the provider may answer a request there: as `isReplySubject`, or where a service takes answers. */
export const isAnswerSubject = (subject: string): boolean =>
  subject.startsWith("_INBOX.") || isSubjectMatch(answerAnyFilter, subject);
