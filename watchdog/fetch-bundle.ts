import { createHash } from "node:crypto";
import { access, constants } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import type { Bootstrap, BundleAnswer } from "../schemas/enrolment.ts";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import { bundleSubject } from "../schemas/subjects.ts";
import { ask } from "../services/bus/ask.ts";
import type { Bus } from "../services/bus/connection.ts";
import { isNobodyThere } from "./is-nobody-there.ts";

/** How long the next part of a bundle may take to come, whoever is away meanwhile. */
export const usualPatienceMs = 60_000;

// A part is read from a disk; a provider that has not the bundle yet fetches it first.
const answerMs = 20_000;
// Between two questions while no provider answers.
const retryMs = 250;

/** What has to be known to ask for it. */
export interface BundleSource extends Pick<Bootstrap, "namespace" | "name" | "ticket"> {
  readonly digest: string;
  readonly patienceMs?: number;
}

const askForPart = async (bus: Bus, source: BundleSource, offset: number): Promise<BundleAnswer> => {
  const { namespace, name, ticket, patienceMs = usualPatienceMs } = source;
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await ask<"io.busker.bundle", BundleAnswer>(bus, {
        subject: bundleSubject(namespace, name),
        type: "io.busker.bundle",
        data: { ticket, offset },
        what: "fetch the bundle",
        timeoutMs: Math.min(answerMs, patienceMs),
      });
    } catch (error) {
      if (!isNobodyThere(error) || performance.now() > untilMs) throw error;
    }
    await pause(retryMs);
  }
};

/** A bundle's archive as it comes. Throws at its end when it is not the one that was asked for. */
const readArchive = async function* (bus: Bus, source: BundleSource): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  for (let offset = 0, size = 1; offset < size;) {
    const answer = await askForPart(bus, source, offset);
    const part = Buffer.from(answer.part ?? "", "base64");
    if (part.length === 0) throw new Error(`the provider's answer at byte ${offset} holds nothing`);
    hash.update(part);
    offset += part.length;
    size = answer.size ?? 0;
    yield part;
  }
  const found = hash.digest("hex");
  if (found !== source.digest) throw new Error(`what came has the hash ${found}`);
};

/**
 * Fetches the bundle of a launch into its folder. Gives undefined, or why it could not: what is to be told as the
 * function's failure.
 */
export const fetchBundle = async (
  bus: Bus,
  source: Omit<BundleSource, "digest">,
  { digest, folder }: NonNullable<ReplicaLaunch["bundle"]>,
): Promise<string | undefined> => {
  try {
    // Only now: most replicas have no bundle to unpack.
    const { unpackBundleStream } = await import("../services/runtime/unpack-bundle.ts");
    await access(folder, constants.W_OK).catch(() => {
      throw new Error(`${folder} cannot be written: choose a base image that has no such folder`);
    });
    await unpackBundleStream(readArchive(bus, { ...source, digest }), folder);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return `could not fetch bundle sha256:${digest}: ${reason}`;
  }
};
