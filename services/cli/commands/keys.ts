import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { BuskerError } from "../../../schemas/errors.ts";
import { ensureCallbackKey } from "../../bus/callback-key.ts";
import { openTrust } from "../../bus/trust.ts";
import { dataFolderOf, passwordFile } from "../find-credentials.ts";
import { handOutKeys, type KeyHolder, keyHolders } from "../hand-out-keys.ts";
import { withExample } from "../options.ts";
import { printLine, type Terminal } from "../terminal.ts";
import { ensurePassword, prepareDataFolder } from "../up/data-folder.ts";

interface KeysOptions {
  readonly out?: string;
  readonly owner: ReadonlyMap<KeyHolder, number>;
  readonly cluster: readonly string[];
  readonly password?: true;
}

const collectOwner = (text: string, owners: ReadonlyMap<KeyHolder, number>): ReadonlyMap<KeyHolder, number> => {
  const [, name, id] = /^([a-z-]+)=(\d{1,9})$/.exec(text) ?? [];
  const holder = keyHolders.find((known) => known === name);
  if (holder === undefined) throw new InvalidArgumentError(`it must be one of ${keyHolders.join(", ")}, then =UID.`);
  return new Map([...owners, [holder, Number(id)]]);
};

const parseHosts = (text: string): readonly string[] => {
  const hosts = text.split(",");
  if (hosts.every((host) => /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(host))) return hosts;
  throw new InvalidArgumentError("it must be host names with commas between them.");
};

const showPassword = (terminal: Terminal): void => {
  const file = resolve(passwordFile(dataFolderOf(terminal.env)));
  if (!existsSync(file)) throw new BuskerError("not_found", `there is no password yet in ${file}`);
  printLine(terminal, readFileSync(file, "utf8").trim());
};

const keys = async ({ out, owner, cluster, password }: KeysOptions, terminal: Terminal): Promise<void> => {
  // A folder that was handed out has a password and no keys, and none are to be made in it.
  if (password) return showPassword(terminal);
  const dataFolder = prepareDataFolder(dataFolderOf(terminal.env));
  const trust = await openTrust(dataFolder);
  ensurePassword(dataFolder);
  await ensureCallbackKey(dataFolder);
  printLine(terminal, `the keys are in ${dataFolder}, the password of admin in ${passwordFile(dataFolder)}`);
  if (out === undefined) return;
  await handOutKeys({ dataFolder, trust, out: resolve(out), owners: owner, cluster });
  printLine(terminal, `handed out in ${resolve(out)}`);
};

/** Adds `busker keys`: makes a platform's keys, and hands out to each service its own. */
export const addKeysCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("keys")
    .description("make a platform's keys and password in BUSKER_DATA, unless they are there, without starting it")
    .option("--out <folder>", `give each of ${keyHolders.join(", ")} a folder with its part of them`)
    .option("--owner <holder=uid>", "whose a holder's files are to be; may be repeated", collectOwner, new Map())
    .option("--cluster <hosts>", "the hosts of a cluster's nats-servers; writes stack.env too", parseHosts, [])
    .option("--password", "only show the password of admin")
    .action((options: KeysOptions) => keys(options, terminal));
  withExample(command, "busker keys --out infra/keys --cluster nats-1,nats-2,nats-3");
};
