import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { trustPaths } from "../bus/trust-files.ts";

/** Where a nats-server keeps its things. */
export interface ServerFiles {
  readonly folder: string;
  readonly log: string;
  readonly pid: string;
}

/** The files of a data folder's server; its store is `jetstream/` in the same folder. */
export const serverFiles = (dataFolder: string): ServerFiles => {
  const folder = resolve(dataFolder, "nats");
  return { folder, log: join(folder, "nats-server.log"), pid: join(folder, "nats-server.pid") };
};

/** A value as nats.conf takes it: quoted, or a space would end it. */
const quote = (text: string): string => `"${text.replace(/["\\]/g, "\\$&")}"`;

/** The variables of nats.conf. */
export const confVariables = (
  options: { readonly dataFolder: string; readonly host: string; readonly port: number },
  files: ServerFiles,
): Record<string, string> => {
  const trust = trustPaths(resolve(options.dataFolder));
  return {
    BUSKER_NATS_HOST: quote(options.host),
    BUSKER_NATS_PORT: String(options.port === 0 ? -1 : options.port),
    BUSKER_NATS_STORE: quote(files.folder),
    BUSKER_NATS_OPERATOR: quote(trust.operatorJwt),
    BUSKER_NATS_ACCOUNTS: quote(trust.accounts),
    // Tells a left-over from the server of a platform that runs.
    BUSKER_NATS_OWNER: String(process.pid),
  };
};

/** Leaves the folder ready for a start: the last run's log kept as `.old`, its port files gone. */
export const prepareFolder = async (files: ServerFiles): Promise<void> => {
  await mkdir(files.folder, { recursive: true, mode: 0o700 });
  await rename(files.log, `${files.log}.old`).catch(() => undefined);
  const names = await readdir(files.folder);
  await Promise.all(
    names.filter((name) => name.endsWith(".ports")).map((name) => rm(join(files.folder, name), { force: true })),
  );
};

/** The URL that the server has written down; undefined until it listens. */
export const readUrl = async (files: ServerFiles, pid: number): Promise<string | undefined> => {
  const name = (await readdir(files.folder)).find((entry) => entry.endsWith(`_${pid}.ports`));
  const text = name === undefined ? "" : await readFile(join(files.folder, name), "utf8");
  // It may be read while it is written.
  return /"nats"\s*:\s*\[\s*"([^"]+)"/.exec(text)?.[1]?.replace("0.0.0.0", "127.0.0.1");
};

const shownLogLines = 8;

/** The log of this run so far, and its last lines. */
export const readLog = async (files: ServerFiles): Promise<{ readonly text: string; readonly end: string }> => {
  const text = await readFile(files.log, "utf8").catch(() => "");
  return { text, end: text.trimEnd().split("\n").slice(-shownLogLines).join("\n  ") };
};
