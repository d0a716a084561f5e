import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { eventually, type TestPlatform } from "./platform.ts";

const infra = resolve(import.meta.dirname, "../../infra");

/** Prometheus and Alertmanager as Debian has them, with the configurations of `infra/`. */
export interface TestWatchers {
  readonly prometheus: string;
  readonly alertmanager: string;
  readonly stop: () => Promise<void>;
}

interface Program {
  readonly url: string;
  readonly stop: () => Promise<void>;
}

/** Starts a program that says where it listens; it ends with this process, whatever ends that. */
const startProgram = async (command: string, args: readonly string[]): Promise<Program> => {
  const child = spawn("setpriv", ["--pdeathsig=KILL", command, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const lines: string[] = [];
  const address = await new Promise<string>((found, failed) => {
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`${command} ended with ${code}:\n${lines.join("\n")}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      const [, listening] = /msg="Listening on" address=(\S+)/.exec(line) ?? [];
      if (listening !== undefined) found(listening);
    });
  });
  const url = `http://${address}`;
  await eventually(`${command} is ready`, async () => ((await fetch(`${url}/-/ready`)).ok ? true : undefined), 30_000);
  return {
    url,
    stop: async () => {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
};

/** Writes a text of `infra/` with other values, each of which must have been there. */
const replaceIn = async (file: string, replacements: readonly (readonly [string, string])[]): Promise<void> => {
  let text = await readFile(file, "utf8");
  for (const [from, to] of replacements) {
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  await writeFile(file, text);
};

/** Where a service of a platform says its metrics are, `127.0.0.1:PORT`. */
const metricsAddress = (platform: TestPlatform, service: string): string => {
  const [, port] = new RegExp(`^${service} \\| .*metricsPort=(\\d+)`, "m").exec(platform.output()) ?? [];
  if (port === undefined) throw new Error(`the ${service} does not say where its metrics are:\n${platform.output()}`);
  return `127.0.0.1:${port}`;
};

/**
 * Starts both beside a platform, with the files for `busker up` but for addresses, and how often Prometheus asks: tests
 * have less time. To be stopped before the platform.
 */
export const startTestWatchers = async (platform: TestPlatform): Promise<TestWatchers> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-watchers-"));
  for (const name of ["prometheus", "alertmanager"])
    await cp(join(infra, name), join(folder, name), { recursive: true });
  const file = (name: string): string => join(folder, name, "local.yml");
  const listen = "--web.listen-address=127.0.0.1:0";
  await replaceIn(file("alertmanager"), [
    ["http://127.0.0.1:8080", platform.url],
    ["../../data", platform.dataFolder],
  ]);
  const alertmanager = await startProgram("prometheus-alertmanager", [
    `--config.file=${file("alertmanager")}`,
    `--storage.path=${join(folder, "silences")}`,
    "--cluster.listen-address=",
    listen,
  ]);
  await replaceIn(file("prometheus"), [
    ["127.0.0.1:9093", alertmanager.url.replace("http://", "")],
    ["127.0.0.1:8082", metricsAddress(platform, "gateway")],
    ["127.0.0.1:8083", metricsAddress(platform, "queue-worker")],
    ["127.0.0.1:8084", metricsAddress(platform, "scaler")],
    ["interval: 5s", "interval: 1s"],
  ]);
  const prometheus = await startProgram("prometheus", [
    `--config.file=${file("prometheus")}`,
    `--storage.tsdb.path=${join(folder, "series")}`,
    listen,
  ]).catch(async (error: unknown) => {
    await alertmanager.stop();
    throw error;
  });
  return {
    prometheus: prometheus.url,
    alertmanager: alertmanager.url,
    stop: async () => {
      await prometheus.stop();
      await alertmanager.stop();
      await rm(folder, { recursive: true });
    },
  };
};

/** One series of an answer of Prometheus, with its newest value. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

/** Asks Prometheus for what is so now; rejects with what it says of a query that it does not understand. */
export const ask = async (prometheus: string, query: string): Promise<readonly Series[]> => {
  const response = await fetch(`${prometheus}/api/v1/query?${new URLSearchParams({ query }).toString()}`);
  const body = (await response.json()) as {
    readonly error?: string;
    readonly data?: { readonly result: readonly Series[] };
  };
  if (!body.data) throw new Error(`${query}: ${body.error}`);
  return body.data.result;
};

/** Runs one of their tools on files of `infra/`; gives what it prints, rejects with it when it finds a fault. */
export const checkInfra = async (command: string, args: readonly string[]): Promise<string> => {
  const { stdout, stderr } = await promisify(execFile)(command, args, { cwd: infra });
  return `${stdout}${stderr}`;
};
