import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** One more scaler of a platform. */
export interface TestScaler {
  readonly process: ChildProcess;
  /** Its metrics, as text. */
  readonly metrics: () => Promise<string>;
  readonly stop: () => Promise<void>;
}

/** Where it finds its platform. */
export interface ScalerPlace {
  readonly natsUrl: string;
  readonly credentialsFile: string;
}

/** Starts one from `dist/`; resolves when it follows. To be stopped before its platform. */
export const startTestScaler = async ({ natsUrl, credentialsFile }: ScalerPlace): Promise<TestScaler> => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../../dist/services/scaler/main.js")], {
    env: { ...process.env, BUSKER_NATS_URL: natsUrl, BUSKER_CREDENTIALS: credentialsFile, BUSKER_METRICS_PORT: "0" },
    // It ends with this process, whatever ends that: a service watches its standard input.
    stdio: ["pipe", "ignore", "pipe"],
  });
  const { metricsPort } = await new Promise<{ readonly metricsPort: number }>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the scaler ended with ${code}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      const entry = JSON.parse(line) as { readonly message: string; readonly metricsPort: number };
      if (entry.message === "following") resolve(entry);
    });
  });
  return {
    process: child,
    metrics: async () => (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text(),
    stop: async () => {
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
};
