import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { BuskerError } from "../../../schemas/errors.ts";
import { deployFolder } from "../deploy-folder.ts";
import { adminUser } from "../find-credentials.ts";
import { createGatewayClient, type GatewayClient } from "../gateway-client.ts";
import { samplesFolder } from "../paths.ts";
import type { FunctionStatus } from "../commands/list.ts";
import type { Platform } from "./platform.ts";

/** The sample that shows a newcomer that the platform works. */
export const firstFunction = "wordcount";

/** What the first function is called with. */
export const firstBody = "one command\nand a function answers\n";

const deadlineMs = 30_000;
const retryMs = 100;

// Right after the start the provider may not listen yet; what is retryable is tried again for a while.
const retry = async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof BuskerError && error.retryable) || performance.now() > endMs) throw error;
    }
    await wait(retryMs, undefined, { signal });
  }
};

const callFirst = async (gateway: GatewayClient): Promise<string> => {
  const path = `/function/${firstFunction}`;
  const request = { method: "POST", path, body: Buffer.from(firstBody), contentType: "text/plain" };
  const response = await gateway.send(request);
  if (!response.ok) throw await gateway.failure(`call ${firstFunction}`, response);
  return (await response.text()).trim();
};

/**
 * Deploys the sample on a platform that has no function yet, and calls it over HTTP; gives its answer. On a platform
 * where the sample is gone but others are, somebody has removed it: then nothing is done and undefined given.
 */
export const showFirstFunction = async (platform: Platform, signal: AbortSignal): Promise<string | undefined> => {
  const gateway = createGatewayClient(platform.gatewayUrl, { user: adminUser, password: platform.password });
  const listed = await retry(signal, () => gateway.call("list functions", { path: "/system/functions" }));
  const functions = (await listed.json()) as readonly FunctionStatus[];
  if (functions.length === 0)
    await retry(signal, () => deployFolder(gateway, { path: join(samplesFolder, firstFunction), settings: {} }));
  else if (!functions.some(({ name }) => name === firstFunction)) return undefined;
  return retry(signal, () => callFirst(gateway));
};
