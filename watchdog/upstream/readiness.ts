import { maxWholeBytes } from "../../schemas/invocation.ts";
import { createUpstreamClient, type UpstreamAddress } from "./client.ts";

/** How a function is asked whether it is ready. */
export interface ReadinessQuestion {
  /** Where it may listen; the first that answers is meant. */
  readonly addresses: readonly UpstreamAddress[];
  readonly path: string;
  /** Whether only a 2xx counts, or any answer. */
  readonly needsSuccess: boolean;
}

/** How long one question may stay open: a server that accepts early may answer late. */
const questionTimeoutMs = 5000;

const ask = (address: UpstreamAddress, path: string): Promise<number | undefined> =>
  new Promise((resolve) => {
    const client = createUpstreamClient(address, maxWholeBytes);
    const settle = (status: number | undefined): void => {
      clearTimeout(timer);
      resolve(status);
      client.close("the question was answered");
    };
    const timer = setTimeout(() => settle(undefined), questionTimeoutMs);
    const host = address.host.includes(":") ? `[${address.host}]` : address.host;
    const head = `GET ${path} HTTP/1.1\r\nHost: ${host}:${address.port}\r\nUser-Agent: busker-watchdog\r\nConnection: close\r\n\r\n`;
    // One that is long, or has no end as a stream of events, counts from its head on and is not read.
    client.exchange({ head, body: new Uint8Array(), isHead: false, canStream: true }, false, (outcome) => {
      if (outcome.kind === "streaming") settle(outcome.head.status);
      else settle(outcome.kind === "answered" ? outcome.response.head.status : undefined);
    });
  });

/** The address that answers as it should; undefined when none does yet. */
export const askReadiness = async (question: ReadinessQuestion): Promise<UpstreamAddress | undefined> => {
  for (const address of question.addresses) {
    const status = await ask(address, question.path);
    if (status !== undefined && (!question.needsSuccess || (status >= 200 && status < 300))) return address;
  }
  return undefined;
};

/** Pause between two questions: short at first, because a start from zero replicas waits for it. */
export const pauseBeforeNextMs = (sinceStartMs: number): number => {
  if (sinceStartMs < 1000) return 5;
  return sinceStartMs < 10_000 ? 25 : 200;
};
