import { createHash, randomBytes } from "node:crypto";
import { chown, mkdir, readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { callbackKeyFile } from "../bus/callback-key.ts";
import { credentialsPath, makePrivateFolder, replacePrivately } from "../bus/trust-files.ts";
import type { Trust } from "../bus/trust.ts";
import { passwordFile } from "./find-credentials.ts";
import { projectFolder } from "./paths.ts";

/** Who gets a folder of its own with what it needs of the keys, and nothing else. */
export const keyHolders = ["nats", "provider", "gateway", "queue-worker", "scaler", "admin"] as const;
export type KeyHolder = (typeof keyHolders)[number];

/** What is handed out, and where to. */
export interface HandOut {
  readonly dataFolder: string;
  readonly trust: Trust;
  /** Gets a folder for each holder. */
  readonly out: string;
  /** To whom a holder's files belong, by user id; absent: to who runs this. */
  readonly owners: ReadonlyMap<KeyHolder, number>;
  /** Host names of all nats-servers of a cluster; none: one server. */
  readonly cluster: readonly string[];
}

const routePort = 6222;

// Each holder's folder is laid out as a data folder.
const holdings = ({ dataFolder, trust: { paths } }: HandOut): Readonly<Record<KeyHolder, readonly string[]>> => {
  const credentials = (user: string): string => credentialsPath(dataFolder, user);
  const admin = [join(dirname(passwordFile(dataFolder)), "basic-auth-user"), passwordFile(dataFolder)];
  return {
    nats: [paths.operatorJwt, paths.accounts],
    provider: [paths.signer, paths.sealingKey, credentials("provider")],
    gateway: [paths.sealingPublic, ...admin, credentials("gateway")],
    scaler: [credentials("scaler")],
    "queue-worker": [callbackKeyFile(dataFolder), credentials("queue-worker"), credentials("outcomes")],
    admin: [...admin, credentials("admin"), credentials("invoke")],
  };
};

const filesOf = async (path: string): Promise<readonly string[]> =>
  readdir(path).then(
    (names) => names.map((name) => join(path, name)),
    () => [path],
  );

const present = (file: string): Promise<string> => readFile(file, "utf8").catch(() => "");

interface Delivery {
  readonly folder: string;
  readonly owner: number | undefined;
}

const makeFolders = async (folder: string, { folder: top, owner }: Delivery): Promise<void> => {
  if (folder !== top && folder.startsWith(top)) await makeFolders(dirname(folder), { folder: top, owner });
  await makePrivateFolder(folder);
  if (owner !== undefined) await chown(folder, owner, owner);
};

const put = async (path: string, text: string, delivery: Delivery): Promise<void> => {
  const file = join(delivery.folder, path);
  await makeFolders(dirname(file), delivery);
  if ((await present(file)) !== text) await replacePrivately(file, text);
  if (delivery.owner !== undefined) await chown(file, delivery.owner, delivery.owner);
};

/** What nats-servers of a cluster know one another by: made at the first time, and kept. */
const clusterPassword = async (dataFolder: string): Promise<string> => {
  const file = join(dirname(passwordFile(dataFolder)), "cluster-password");
  const kept = (await present(file)).trim();
  if (kept !== "") return kept;
  const made = randomBytes(24).toString("base64url");
  await replacePrivately(file, made);
  return made;
};

/** The text of routes.conf, which infra/nats/cluster.conf includes. */
const routesConf = (hosts: readonly string[], password: string): string => {
  const routes = hosts.map((host) => `  "nats-route://busker:${password}@${host}:${routePort}"`);
  return `authorization { user: busker, password: "${password}" }\nroutes: [\n${routes.join("\n")}\n]\n`;
};

// What a stack's servers are given besides.
const serverConfigs: readonly string[] = ["nats.conf", "infra/nats/cluster.conf"];

/** Names what a stack is given: a changed file gets a new name, because an engine's secrets and configs never change. */
const versionOf = async (folder: string): Promise<string> => {
  const hash = createHash("sha256");
  const add = async (path: string): Promise<void> => {
    const inside = await filesOf(path);
    if (inside.length === 1 && inside[0] === path)
      hash
        .update(relative(folder, path))
        .update("\0")
        .update(await readFile(path));
    else for (const file of inside.toSorted()) await add(file);
  };
  for (const holder of ["nats", "provider", "gateway", "queue-worker", "scaler"]) await add(join(folder, holder));
  for (const path of serverConfigs) hash.update(await present(join(projectFolder, path)));
  return hash.digest("hex").slice(0, 12);
};

const stackEnvironment = async ({ trust, out }: HandOut, accounts: readonly string[]): Promise<string> => {
  const system = accounts.find((name) => name !== trust.signer.account) ?? "";
  return [
    `export BUSKER_KEYS='${out.replaceAll("'", `'\\''`)}'`,
    `export BUSKER_KEYS_VERSION=${await versionOf(out)}`,
    `export BUSKER_ACCOUNT=${trust.signer.account}`,
    `export BUSKER_SYSTEM_ACCOUNT=${system}`,
    "",
  ].join("\n");
};

/**
 * Writes for each holder a folder with its part of a platform's keys: private files, each replaced as a whole and only when it
 * differs. For a cluster also `nats/routes.conf`, and `stack.env` with what infra/stack.yaml needs to be told.
 */
export const handOutKeys = async (given: HandOut): Promise<void> => {
  const { dataFolder, out, owners, cluster, trust } = given;
  await mkdir(out, { recursive: true, mode: 0o700 });
  for (const [holder, paths] of Object.entries(holdings(given)) as [KeyHolder, readonly string[]][]) {
    const delivery = { folder: join(out, holder), owner: owners.get(holder) };
    for (const path of paths)
      for (const file of await filesOf(path))
        await put(relative(dataFolder, file), await readFile(file, "utf8"), delivery);
  }
  if (cluster.length === 0) return;
  const nats = { folder: join(out, "nats"), owner: owners.get("nats") };
  await put("routes.conf", routesConf(cluster, await clusterPassword(dataFolder)), nats);
  const accounts = (await readdir(trust.paths.accounts)).map((name) => name.replace(/\.jwt$/, ""));
  await put("stack.env", await stackEnvironment(given, accounts), { folder: out, owner: undefined });
};
