import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PlatformUser } from "../../services/bus/permissions.ts";
import { openTrust, type Trust } from "../../services/bus/trust.ts";
import { startNatsServer } from "../../services/cli/nats-server.ts";

/** The project's nats.conf. */
export const natsConf = fileURLToPath(new URL("../../nats.conf", import.meta.url));

/** A real nats-server for one test file, on a free port with its own keys and store. */
export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** Has a space in its name, as some people's do. */
  readonly dataFolder: string;
  readonly trust: Trust;
  readonly credsFile: (user: PlatformUser) => string;
  /** Stops it and removes its folder. */
  readonly stop: () => Promise<void>;
  /** Stops it, if it runs, and starts it again on the same port and store. */
  readonly restart: () => Promise<void>;
  /** Ends it with SIGKILL, to be started again by `restart`. */
  readonly kill: () => Promise<void>;
}

const writeConf = async (folder: string, settings: Readonly<Record<string, string>>): Promise<string> => {
  const file = join(folder, "test.conf");
  let text = await readFile(natsConf, "utf8");
  for (const [key, value] of Object.entries(settings)) {
    const line = new RegExp(`^${key}: [^#\n]*`, "m");
    if (!line.test(text)) throw new Error(`nats.conf does not set ${key}`);
    text = text.replace(line, `${key}: ${value} `);
  }
  await writeFile(file, text);
  return file;
};

/** Starts one, with other values of some settings of nats.conf, on an address of this machine; to be stopped in `after`. */
export const startTestNats = async (
  settings: Readonly<Record<string, string>> = {},
  host = "127.0.0.1",
): Promise<TestNats> => {
  const dataFolder = await mkdtemp(join(tmpdir(), "busker test-"));
  const conf = await writeConf(dataFolder, settings);
  const trust = await openTrust(dataFolder);
  const start = (port: number) => startNatsServer({ dataFolder, conf, host, port, environment: process.env });
  let server = await start(0).catch(async (error: unknown) => {
    await rm(dataFolder, { recursive: true, force: true });
    throw error;
  });
  return {
    url: server.url,
    port: server.port,
    dataFolder,
    trust,
    credsFile: trust.credentialsFile,
    stop: async () => {
      await server.stop();
      await rm(dataFolder, { recursive: true, force: true });
    },
    restart: async () => {
      await server.stop();
      server = await start(server.port);
    },
    kill: () => server.kill(),
  };
};
