import { connect } from "nats";
import { inboxPrefix } from "../../schemas/subjects.ts";
import { readCredentialsFile } from "./credentials.ts";
import { jetStreamInfo } from "./jetstream-subjects.ts";

/** A server to try, and as whom. */
export interface ProbeOptions {
  readonly url: string;
  readonly credentialsFile: string;
  readonly user: string;
  readonly timeoutMs: number;
}

/** Connects once, asks JetStream for its state and leaves. Rejects when any of it fails within the time. */
export const probeServer = async ({ url, credentialsFile, user, timeoutMs }: ProbeOptions): Promise<void> => {
  const authenticator = readCredentialsFile(credentialsFile);
  const nc = await connect({
    servers: url,
    authenticator,
    inboxPrefix: inboxPrefix(user),
    reconnect: false,
    timeout: timeoutMs,
  });
  try {
    const { error } = (await nc.request(jetStreamInfo, "", { timeout: timeoutMs })).json<{
      error?: { description: string };
    }>();
    if (error) throw new Error(`JetStream answers: ${error.description}`);
  } finally {
    await nc.close();
  }
};
