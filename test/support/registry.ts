import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Docker from "dockerode";
import { eventually } from "./platform.ts";

/** An image registry of one test file, on a free port, which engines speak plain HTTP with. */
export interface TestRegistry {
  /** Host and port, as an image reference begins. */
  readonly host: string;
  /** Stops it, and starts it again on the same port and store. */
  readonly stop: () => Promise<void>;
  readonly start: () => Promise<void>;
  /** Stops it and removes what it stores. */
  readonly remove: () => Promise<void>;
}

/** Who may use a registry that asks for a password. */
export const registryUser = { username: "busker", password: "open sesame" } as const;

// bcrypt, the only hash that the registry knows; of the lowest cost, as nothing is protected by it.
const htpasswd = `${registryUser.username}:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n`;

const findPort = async (address: string): Promise<number> => {
  const server = createServer().listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
};

const configOf = (folder: string, host: string, isGuarded: boolean): string =>
  JSON.stringify({
    version: "0.1",
    log: { accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: join(folder, "store") } },
    http: { addr: host },
    ...(isGuarded ? { auth: { htpasswd: { realm: "test", path: join(folder, "htpasswd") } } } : {}),
  });

/**
 * Starts one, on the loopback unless an address of this machine is given, whose engines must be told that it speaks plain
 * HTTP; needs Debian's `docker-registry`. With `isGuarded` it lets `registryUser` in and nobody else.
 */
export const startTestRegistry = async (isGuarded = false, address = "127.0.0.1"): Promise<TestRegistry> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-registry-"));
  const host = `${address}:${await findPort(address)}`;
  await writeFile(join(folder, "htpasswd"), htpasswd);
  // JSON is YAML.
  await writeFile(join(folder, "config.yml"), configOf(folder, host, isGuarded));
  let log = "";
  let stop = async (): Promise<void> => {};
  const start = async (): Promise<void> => {
    const child = spawn("docker-registry", ["serve", join(folder, "config.yml")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const take = (text: Buffer): void => void (log += text.toString());
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const ended = once(child, "exit").catch((error: unknown) => void (log += String(error)));
    stop = async () => {
      child.kill("SIGKILL");
      await ended;
    };
    await eventually("the registry answers", async () => {
      if (child.exitCode !== null) throw new Error(`docker-registry did not start:\n${log}`);
      return fetch(`http://${host}/v2/`).then(
        () => true,
        () => undefined,
      );
    });
  };
  await start();
  return {
    host,
    start,
    stop: () => stop(),
    remove: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** Puts a local image into a registry as `repository:tag`; what the engine has under that name stays. */
export const pushImage = async (
  docker: Docker,
  { image, registry, repository, tag }: { image: string; registry: TestRegistry; repository: string; tag: string },
): Promise<void> => {
  // The same registry by another name.
  const repo = `${registry.host.replace("127.0.0.1", "localhost")}/${repository}`;
  await docker.getImage(image).tag({ repo, tag });
  const progress = await docker.getImage(`${repo}:${tag}`).push({
    tag,
    authconfig: { ...registryUser, serveraddress: registry.host },
  });
  await new Promise<void>((done, fail) =>
    docker.modem.followProgress(progress, (error) => (error ? fail(error) : done())),
  );
  await docker.getImage(`${repo}:${tag}`).remove();
};
