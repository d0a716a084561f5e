import type { GatewayClient } from "../gateway-client.ts";
import { isOver, type ShownCall } from "./call-shapes.ts";

// What one request waits at most: a gateway that is stopped in between is noticed.
const longestWaitMs = 60_000;

/** The path of what the gateway knows of a call. */
export const callPath = (id: string, rest = ""): string => `/system/calls/${encodeURIComponent(id)}${rest}`;

/** Waits until a call is over; gives it as it stands when the time is up, too. */
export const awaitCall = async (gateway: GatewayClient, id: string, timeoutMs: number): Promise<ShownCall> => {
  const endMs = Date.now() + timeoutMs;
  for (;;) {
    const leftMs = Math.max(0, Math.min(longestWaitMs, endMs - Date.now()));
    const response = await gateway.call(`wait for call ${id}`, {
      path: callPath(id),
      query: { wait: `${Math.ceil(leftMs / 1000)}s` },
    });
    const call = (await response.json()) as ShownCall;
    if (isOver(call.state) || Date.now() >= endMs) return call;
  }
};

/** What a call's function answered, as it comes; of a call that has an answer. */
export const openResponse = (gateway: GatewayClient, id: string): Promise<Response> =>
  gateway.send({ path: callPath(id, "/response") });
