import { createHmac } from "node:crypto";

/** What is signed: the headers of Standard Webhooks, and the body behind them. */
export interface Signed {
  /** The same for every try. Holds no dot, so that nobody can shift what belongs to which part. */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly body: AsyncIterable<Uint8Array>;
}

/** The header `webhook-signature` (Standard Webhooks 1.0): `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`. */
export const signWebhook = async (key: Uint8Array, { id, timestamp, body }: Signed): Promise<string> => {
  const hmac = createHmac("sha256", key).update(`${id}.${timestamp}.`);
  for await (const chunk of body) hmac.update(chunk);
  return `v1,${hmac.digest("base64")}`;
};
