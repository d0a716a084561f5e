import { type EventData, secretEventType } from "../../schemas/events.ts";
import { formatSecretName, type SecretAnswer, type SecretName } from "../../schemas/secret.ts";
import { type SecretRequestVerb, secretSubject } from "../../schemas/subjects.ts";
import { ask } from "../bus/ask.ts";
import type { Bus } from "../bus/connection.ts";
import type { Seal } from "../bus/sealing-keys.ts";

/**
 * The secrets that the provider keeps. A value is sealed here and leaves in no other form; nothing is kept here. Each
 * rejects with the error that the provider answers, or `provider_unavailable` when it answers nothing.
 */
export interface Secrets {
  readonly list: (namespace: string) => Promise<readonly string[]>;
  readonly create: (secret: SecretName, value: Uint8Array) => Promise<void>;
  readonly update: (secret: SecretName, value: Uint8Array) => Promise<void>;
  readonly remove: (secret: SecretName) => Promise<void>;
}

/** Opens them on the bus. */
export const openSecrets = (bus: Bus, seal: Seal, timeoutMs: number): Secrets => {
  const request = <V extends SecretRequestVerb>(
    verb: V,
    namespace: string,
    what: string,
    data: EventData[`io.busker.secret.${V}`],
  ): Promise<SecretAnswer> =>
    ask(bus, { subject: secretSubject(verb, namespace), type: secretEventType(verb), data, what, timeoutMs });
  const write = async (verb: "create" | "update", secret: SecretName, value: Uint8Array): Promise<void> => {
    const data = { name: secret.name, sealed: seal(secret, value) };
    await request(verb, secret.namespace, `${verb} secret ${formatSecretName(secret)}`, data);
  };
  return {
    list: async (namespace) => (await request("list", namespace, `list the secrets of ${namespace}`, {})).names ?? [],
    create: (secret, value) => write("create", secret, value),
    update: (secret, value) => write("update", secret, value),
    remove: async (secret) => {
      const what = `remove secret ${formatSecretName(secret)}`;
      await request("remove", secret.namespace, what, { name: secret.name });
    },
  };
};
