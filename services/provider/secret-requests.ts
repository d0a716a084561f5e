import { BuskerError } from "../../schemas/errors.ts";
import type { EventType } from "../../schemas/events.ts";
import { secretEventType } from "../../schemas/events.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { checkName, formatFunctionName } from "../../schemas/names.ts";
import {
  checkSecretName,
  formatSecretName,
  maxSecretBytes,
  type SealedBox,
  type SecretAnswer,
  type SecretName,
} from "../../schemas/secret.ts";
import {
  providerQueueGroup,
  type SecretOutcomeVerb,
  type SecretRequestVerb,
  secretRequestVerbs,
  secretSubject,
  secretVerbFilter,
} from "../../schemas/subjects.ts";
import { answerQuestions } from "../bus/ask.ts";
import type { Bus } from "../bus/connection.ts";
import { publishDurably } from "../bus/streams.ts";
import { describeError, type Log } from "../runtime/log.ts";
import { createKeyedQueue } from "./keyed-queue.ts";
import { assertNamespace, type NamespaceBucket, secretsOf } from "./named-things.ts";
import type { SecretStore } from "./secret-store.ts";

/** What answering requests about secrets needs. */
export interface SecretRequestsParts {
  readonly bus: Bus;
  readonly store: Pick<SecretStore, "list" | "create" | "update" | "remove">;
  readonly namespaces: NamespaceBucket;
  /** The specs of all functions that are wished for. */
  readonly inUse: () => readonly FunctionSpec[];
  readonly log: Log;
}

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isBase64 = (value: unknown): value is string => typeof value === "string" && /^[A-Za-z0-9+/]+={0,2}$/.test(value);

// Base64 with the tag; what is longer did not come from a gateway.
const maxCiphertext = Math.ceil((maxSecretBytes + 64) / 3) * 4;

// Whoever sends a value as it is must not meet it in an error: nothing of the data is repeated.
const readBox = ({ sealed }: Fields): SealedBox => {
  if (isFields(sealed)) {
    const { key, ephemeral, ciphertext } = sealed;
    if (typeof key === "string" && isBase64(ephemeral) && isBase64(ciphertext) && ciphertext.length <= maxCiphertext)
      return { key, ephemeral, ciphertext };
  }
  throw new BuskerError(
    "invalid_request",
    `sealed must have the texts key, ephemeral and ciphertext, the last two in base64, of at most ${maxSecretBytes} bytes`,
  );
};

const readName = (namespace: string, data: Fields): SecretName => ({
  namespace,
  name: checkSecretName("name", data["name"]),
});

/** Throws `secret_in_use`: a function without its secret would run on, and fail at its next start, much later. */
const assertUnused = ({ inUse }: SecretRequestsParts, { namespace, name }: SecretName): void => {
  const users = inUse().filter((spec) => spec.namespace === namespace && secretsOf(spec).includes(name));
  if (users.length > 0)
    throw new BuskerError(
      "secret_in_use",
      `secret ${formatSecretName({ namespace, name })} is used by ${users.map(formatFunctionName).join(", ")}; update or remove ${users.length === 1 ? "that function" : "those functions"} first`,
    );
};

/** What a request does; gives what was done, if that is to be told, or the answer to a question. */
type Act = (
  parts: SecretRequestsParts,
  namespace: string,
  data: Fields,
) => Promise<{ readonly done: SecretOutcomeVerb; readonly name: string } | SecretAnswer>;

const acts: Readonly<Record<SecretRequestVerb, Act>> = {
  create: async ({ store, namespaces }, namespace, data) => {
    const secret = readName(namespace, data);
    const sealed = readBox(data);
    await assertNamespace(namespaces, namespace);
    await store.create(secret, sealed);
    return { done: "created", name: secret.name };
  },
  update: async ({ store }, namespace, data) => {
    const secret = readName(namespace, data);
    await store.update(secret, readBox(data));
    return { done: "updated", name: secret.name };
  },
  remove: async (parts, namespace, data) => {
    const secret = readName(namespace, data);
    assertUnused(parts, secret);
    await parts.store.remove(secret);
    return { done: "removed", name: secret.name };
  },
  list: async ({ store }, namespace) => ({ names: store.list(namespace) }),
};

/** Answers requests about secrets until it is stopped: the changes of one namespace in order. */
export const openSecretRequests = (parts: SecretRequestsParts): (() => void) => {
  const { bus, log } = parts;
  const queue = createKeyedQueue();

  // It is done by now, and nobody is helped by an answer that says otherwise: the audit log lacks a line, and says so here.
  const tell = async (done: SecretOutcomeVerb, namespace: string, name: string, id: string): Promise<void> => {
    const secret = formatSecretName({ namespace, name });
    log.info(`secret ${done}`, { secret });
    const event = { subject: secretSubject(done, namespace), type: secretEventType(done), data: { wish: id, name } };
    await publishDurably(bus, { ...event, id: `${id}-outcome` }).catch((error: unknown) =>
      log.warn(`could not record that a secret was ${done}`, { secret, error: describeError(error) }),
    );
  };
  const answer = async (verb: SecretRequestVerb, namespace: string, id: string, data: unknown) => {
    if (!isFields(data)) throw new BuskerError("invalid_request", "the data must be an object");
    const end = await acts[verb](parts, namespace, data);
    if (!("done" in end)) return end;
    await tell(end.done, namespace, end.name, id);
    return {};
  };

  const stops = secretRequestVerbs.map((verb) =>
    answerQuestions<EventType>(bus, { filter: secretVerbFilter(verb), queue: providerQueueGroup }, (event) => {
      const namespace = checkName("namespace", event.subject.split(".")[3]);
      const act = (): Promise<SecretAnswer> => answer(verb, namespace, event.id, event.data);
      return verb === "list" ? act() : queue(namespace, act);
    }),
  );
  return () => {
    for (const stop of stops) stop();
  };
};
