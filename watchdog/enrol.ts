import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { type Bootstrap, type EnrolAnswer, type EnrolRequest, enrolUse } from "../schemas/enrolment.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { enrolSubject } from "../schemas/subjects.ts";
import { ask } from "../services/bus/ask.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { holdCredentials } from "../services/bus/credentials.ts";
import { openBytes, rawPublic } from "../services/bus/sealed-box.ts";
import { fetchBundle } from "./fetch-bundle.ts";
import { isNobodyThere } from "./is-nobody-there.ts";

// A provider answers within milliseconds; it looks the task up in its engine first.
const answerMs = 5000;
// Between two questions while no provider answers: one that comes back finds us within this time.
const retryMs = 250;

/** Never repeats the text, which holds credentials. */
const parseBootstrap = (text: string): Bootstrap => {
  try {
    return JSON.parse(text) as Bootstrap;
  } catch {
    throw new Error(`the bootstrap file is not JSON: it has ${text.length} characters`);
  }
};

const askOnce = async (bus: Bus, { namespace, name }: Bootstrap, data: EnrolRequest): Promise<EnrolAnswer> =>
  ask<"io.busker.enrol", EnrolAnswer>(bus, {
    subject: enrolSubject(namespace, name),
    type: "io.busker.enrol",
    data,
    what: "enrol",
    timeoutMs: answerMs,
  }).catch((error: unknown) => {
    if (isNobodyThere(error)) return { waitMs: retryMs };
    throw error;
  });

const openLaunch = (privateKey: KeyObject, use: ReturnType<typeof enrolUse>, answer: EnrolAnswer): ReplicaLaunch => {
  if (!answer.launch) throw new Error("the provider's answer to the enrolment holds no launch");
  return JSON.parse(openBytes(privateKey, use, answer.launch).toString("utf8")) as ReplicaLaunch;
};

/** A launch, and why the function cannot be started though it is there. */
export interface ObtainedLaunch {
  readonly launch: ReplicaLaunch;
  readonly fault?: string | undefined;
}

/**
 * Asks the provider for this replica's launch, again and again until one answers. The answer is sealed for a key that is
 * made here and never leaves this process: others of the same function, who may listen, cannot read it. Then fetches the
 * function's bundle, if it is one. Throws when the provider refuses.
 */
export const enrol = async (bootstrap: string, task: string | undefined): Promise<ObtainedLaunch> => {
  if (!task) throw new Error("the environment does not say which task this is");
  const parsed = parseBootstrap(bootstrap);
  const { natsUrl, user, credentials, ticket, namespace, name } = parsed;
  const bus = await openBus({
    url: natsUrl,
    credentialsFile: holdCredentials(credentials),
    user,
    name: `enrol/${task}`,
  });
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const request = { task, key: rawPublic(publicKey).toString("base64"), ticket };
  try {
    for (;;) {
      const answer = await askOnce(bus, parsed, request);
      if (answer.waitMs === undefined) {
        const launch = openLaunch(privateKey, enrolUse({ task, namespace, name }), answer);
        return { launch, fault: launch.bundle && (await fetchBundle(bus, parsed, launch.bundle)) };
      }
      await pause(answer.waitMs);
    }
  } finally {
    await bus.close();
  }
};
