import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { scaleLabels } from "../../schemas/scale-labels.ts";
import { packFolder } from "../../services/cli/pack-folder.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const upMs = 60_000;

/** What a function is made of, in a test. */
export interface TestFunction {
  readonly name: string;
  /** A folder, or files by path. */
  readonly code: string | Readonly<Record<string, string>>;
  readonly envVars?: Readonly<Record<string, string>>;
  readonly more?: { readonly labels?: Readonly<Record<string, string>>; readonly [field: string]: unknown };
}

/** A function that says nothing of its scale keeps the count that its test has set, whatever load a test makes. */
const withScale = (labels: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> =>
  Object.keys(labels).some((label) => label.startsWith("com.openfaas.scale."))
    ? labels
    : { ...labels, [scaleLabels.types]: "alert" };

/** A whole platform as `busker up` starts it, on free ports with a data folder of its own. */
export interface TestPlatform {
  readonly url: string;
  readonly metricsUrl: string;
  readonly natsUrl: string;
  readonly dataFolder: string;
  readonly authorization: string;
  readonly process: ChildProcess;
  /** Everything it has printed. */
  readonly output: () => string;
  /** A request to the gateway with the administrator's credentials. */
  readonly api: (method: string, path: string, body?: unknown) => Promise<Response>;
  readonly invoke: (path: string, init?: RequestInit) => Promise<Response>;
  /** Uploads and deploys; gives the answer, whatever its status. */
  readonly deploy: (fn: TestFunction) => Promise<Response>;
  readonly status: (name: string) => Promise<Record<string, unknown>>;
  /** Processes whose command line holds this text and that belong to this platform. */
  readonly pids: (text: string) => number[];
  readonly stop: () => Promise<number | null>;
}

const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** Pids by a test of their command line and environment. */
export const findProcesses = (matches: (commandLine: string, environment: string) => boolean): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => matches(readText(`/proc/${pid}/cmdline`).replaceAll("\0", " "), readText(`/proc/${pid}/environ`)))
    .map(Number);

/** Asks until the answer is not undefined; rejects after `withinMs`. */
export const eventually = async <T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  withinMs = 30_000,
): Promise<T> => {
  const endMs = Date.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > endMs) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** Waits until so many calls of a function are in flight, as its gateway counts them. */
export const untilInFlight = (
  { metricsUrl }: Pick<TestPlatform, "metricsUrl">,
  name: string,
  count: number,
): Promise<true> =>
  eventually(`${count} calls of ${name} are in flight`, async () => {
    const text = await (await fetch(metricsUrl)).text();
    return text.includes(`\ngateway_function_invocation_inflight{function_name="${name}.openfaas-fn"} ${count}\n`)
      ? true
      : undefined;
  });

const writeCode = async (folder: string, code: TestFunction["code"]): Promise<string> => {
  if (typeof code === "string") return code;
  for (const [path, text] of Object.entries(code)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  return folder;
};

/** Lines of `busker up` until the one that says it is ready. */
const awaitReady = async (child: ChildProcess, lines: string[]): Promise<void> => {
  if (!child.stdout || !child.stderr) throw new Error("the platform's output is not piped");
  createInterface({ input: child.stderr }).on("line", (line) => lines.push(line));
  const reader = createInterface({ input: child.stdout });
  const ready = new Promise<void>((resolve, reject) => {
    reader.on("line", (line) => {
      lines.push(line);
      if (line.startsWith("ready")) resolve();
    });
    child.once("exit", (code) => reject(new Error(`busker up ended with ${code}:\n${lines.join("\n")}`)));
    setTimeout(() => reject(new Error(`busker up is not ready:\n${lines.join("\n")}`)), upMs).unref();
  });
  await ready;
};

const valueOf = (lines: readonly string[], key: string): string => {
  // A service's own log line begins with its name too, and a bar.
  const line = lines.find((candidate) => candidate.startsWith(`${key} `) && !candidate.startsWith(`${key} |`));
  if (line === undefined) throw new Error(`busker up did not print ${key}:\n${lines.join("\n")}`);
  return line.slice(key.length).trim();
};

/** Starts one from `dist/`, of this tree or a copy of it; to be stopped in `after`. */
export const startTestPlatform = async (
  env: Readonly<Record<string, string>> = {},
  arguments_: readonly string[] = ["--no-sample"],
  tree = root,
): Promise<TestPlatform> => {
  const main = join(tree, "dist/services/cli/main.js");
  if (!existsSync(main)) throw new Error("there is no dist/; run `npm run build` first");
  const dataFolder = env["BUSKER_DATA"] ?? (await mkdtemp(join(tmpdir(), "busker-test-")));
  const child = spawn(process.execPath, [main, "up", ...arguments_], {
    cwd: tree,
    env: {
      ...process.env,
      BUSKER_DATA: dataFolder,
      BUSKER_PORT: "0",
      BUSKER_METRICS_PORT: "0",
      BUSKER_QUEUE_METRICS_PORT: "0",
      BUSKER_SCALER_METRICS_PORT: "0",
      BUSKER_NATS_PORT: "0",
      // Whatever engine this machine has is not the test's.
      BUSKER_BACKEND: "process",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  await awaitReady(child, lines);
  const url = valueOf(lines, "gateway");
  const password = (await readFile(join(dataFolder, "secrets/basic-auth-password"), "utf8")).trim();
  const authorization = `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;
  const api: TestPlatform["api"] = (method, path, body) =>
    fetch(`${url}${path}`, {
      method,
      headers: { authorization, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return {
    url,
    metricsUrl: valueOf(lines, "metrics"),
    natsUrl: valueOf(lines, "NATS"),
    dataFolder,
    authorization,
    process: child,
    output: () => lines.join("\n"),
    api,
    invoke: (path, init) => fetch(`${url}/function/${path}`, { redirect: "manual", ...init }),
    deploy: async (fn) => {
      const folder = await mkdtemp(join(tmpdir(), "busker-function-"));
      try {
        const archive = await packFolder(await writeCode(folder, fn.code));
        const uploaded = await fetch(`${url}/system/bundles`, {
          method: "POST",
          headers: { authorization },
          body: archive,
        });
        if (!uploaded.ok) return uploaded;
        const { image } = (await uploaded.json()) as { image: string };
        const exists = (await api("GET", `/system/function/${fn.name}`)).ok;
        return await api(exists ? "PUT" : "POST", "/system/functions", {
          service: fn.name,
          image,
          envVars: fn.envVars,
          ...fn.more,
          labels: withScale(fn.more?.labels),
        });
      } finally {
        await rm(folder, { recursive: true });
      }
    },
    status: async (name) => (await (await api("GET", `/system/function/${name}`)).json()) as Record<string, unknown>,
    pids: (text) =>
      findProcesses(
        (commandLine, environment) =>
          commandLine.includes(text) &&
          (commandLine.includes(dataFolder) || environment.includes(`BUSKER_DATA=${dataFolder}\0`)),
      ),
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, "exit");
        child.kill("SIGTERM");
        await exited;
      }
      if (env["BUSKER_DATA"] === undefined) await rm(dataFolder, { recursive: true, force: true });
      return child.exitCode;
    },
  };
};
