import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestPlatform } from "./platform.ts";

/** One more gateway of a platform. */
export interface TestGateway {
  readonly url: string;
  readonly metricsUrl: string;
  readonly process: ChildProcess;
  readonly stop: () => Promise<void>;
}

/** Starts one from `dist/` on free ports; to be stopped before its platform. */
export const startTestGateway = async (
  platform: Pick<TestPlatform, "dataFolder" | "natsUrl">,
): Promise<TestGateway> => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../../dist/services/gateway/main.js")], {
    env: {
      ...process.env,
      BUSKER_DATA: platform.dataFolder,
      BUSKER_NATS_URL: platform.natsUrl,
      BUSKER_CREDENTIALS: join(platform.dataFolder, "creds/gateway.creds"),
      BUSKER_PORT: "0",
      BUSKER_METRICS_PORT: "0",
    },
    // It ends with this process, whatever ends that: a service watches its standard input.
    stdio: ["pipe", "ignore", "pipe"],
  });
  const listening = await new Promise<{ readonly port: number; readonly metricsPort: number }>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the gateway ended with ${code}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      const entry = JSON.parse(line) as {
        readonly message: string;
        readonly port: number;
        readonly metricsPort: number;
      };
      if (entry.message === "listening") resolve(entry);
    });
  });
  return {
    url: `http://127.0.0.1:${listening.port}`,
    metricsUrl: `http://127.0.0.1:${listening.metricsPort}/metrics`,
    process: child,
    stop: async () => {
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
};
