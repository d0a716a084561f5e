import { once } from "node:events";
import { type Command, Option } from "commander";
import { backends, readUpConfig } from "../config.ts";
import { withExample } from "../options.ts";
import type { Outcome } from "../outcome.ts";
import { printLine, type Terminal } from "../terminal.ts";
import { showFirstFunction } from "../up/first-function.ts";
import { startPlatform } from "../up/platform.ts";
import { createStopList } from "../up/stop-list.ts";
import { listenForStop } from "../up/stop-signals.ts";
import { welcomeLines } from "../up/welcome.ts";

// Longer than the graces of all parts together.
const stopMs = 35_000;

/** The options of the command line. */
interface UpOptions {
  readonly sample: boolean;
  readonly backend?: string;
}

const serve = async (options: UpOptions, terminal: Terminal, stop: AbortSignal, start: Start): Promise<void> => {
  const startedAtMs = performance.now();
  const platform = await startPlatform({ ...start, signal: stop, env: terminal.env });
  const answer = options.sample ? await showFirstFunction(platform, stop) : undefined;
  for (const line of welcomeLines(platform, answer)) printLine(terminal, line);
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  printLine(terminal, `ready in ${seconds} s; Ctrl-C stops everything`);
  if (!stop.aborted) await once(stop, "abort");
};

type Start = Omit<Parameters<typeof startPlatform>[0], "signal" | "env">;

const up = async (options: UpOptions, terminal: Terminal, outcome: Outcome): Promise<void> => {
  const report = (line: string): void => void terminal.stderr.write(`${line}\n`);
  const { backend } = options;
  const config = readUpConfig(backend === undefined ? terminal.env : { ...terminal.env, BUSKER_BACKEND: backend });
  const parts = createStopList(report);
  const signals = listenForStop(() => {
    parts.killAll();
    process.exit(1);
  });
  try {
    await serve(options, terminal, signals.first, { config, parts, report });
  } catch (error) {
    if (!signals.first.aborted) throw error;
  } finally {
    if (signals.first.aborted) report("busker: stopping");
    if (!(await parts.stopAll(stopMs))) outcome.exitCode = 1;
    signals.close();
  }
};

/** Adds `busker up`: the whole platform on this machine, in the foreground. */
export const addUpCommand = (program: Command, terminal: Terminal, outcome: Outcome): void => {
  const command = program
    .command("up")
    .description("start the whole platform on this machine, and stop it with Ctrl-C")
    .addOption(new Option("--backend <name>", "what runs functions").choices(backends))
    .option("--no-sample", "do not deploy and call a sample function")
    .action((options: UpOptions) => up(options, terminal, outcome))
    .addHelpText(
      "after",
      `
Environment:
  BUSKER_DATA                 everything it keeps           ./data
  BUSKER_PORT                 the gateway                   8080
  BUSKER_METRICS_PORT         the gateway's metrics         8082
  BUSKER_QUEUE_METRICS_PORT   the queue-worker's metrics    8083
  BUSKER_SCALER_METRICS_PORT  the scaler's metrics          8084
  BUSKER_NATS_PORT            nats-server                   4222
  BUSKER_NATS_HOST            the address it listens on     loopback, and a bridge for containers
  BUSKER_BACKEND              what runs functions           auto: docker when an engine answers, else process`,
    );
  withExample(command, "BUSKER_DATA=/var/lib/busker BUSKER_PORT=9090 busker up");
};
