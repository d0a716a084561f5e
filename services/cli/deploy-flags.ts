import { type Command, InvalidArgumentError, Option } from "commander";
import type { ResourceAmounts } from "../../schemas/function.ts";
import { modeNames } from "../../schemas/function-environment.ts";
import type { FunctionSettings } from "./function-file.ts";
import type { NamespaceOptions } from "./options.ts";

type Texts = Readonly<Record<string, string>>;

/** The options of `busker deploy` as commander gives them. */
export interface DeployFlags extends NamespaceOptions {
  readonly json?: boolean;
  readonly image?: string;
  readonly name?: string;
  readonly fprocess?: string;
  readonly mode?: string;
  readonly env?: Texts;
  readonly label?: Texts;
  readonly annotation?: Texts;
  readonly secret?: readonly string[];
  readonly constraint?: readonly string[];
  readonly memoryLimit?: string;
  readonly cpuLimit?: string;
  readonly memoryRequest?: string;
  readonly cpuRequest?: string;
  readonly readonly?: boolean;
}

const collectPair = (text: string, before: Texts = {}): Texts => {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError("It must be KEY=VALUE.");
  return { ...before, [key]: value };
};

const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** Adds the options that say how a function runs; each one that is given wins over `function.yaml`. */
export const addDeployFlags = (command: Command): Command =>
  command
    .option("--image <reference>", "a container image instead of a folder")
    .option("--name <name>", "the function's name (default: the folder's or the image's)")
    .option("--fprocess <command>", "the command that is the function, without a shell")
    .addOption(new Option("--mode <mode>", "how the program is run").choices(modeNames))
    .option("-e, --env <key=value>", "an environment variable; may be given again", collectPair)
    .option("-l, --label <key=value>", "a label; may be given again", collectPair)
    .option("--annotation <key=value>", "an annotation; may be given again", collectPair)
    .option("--secret <name>", "a secret the function may read; may be given again", collect)
    .option("--constraint <text>", "where it may run; may be given again", collect)
    .option("--memory-limit <amount>", "memory of one replica, such as 128Mi")
    .option("--cpu-limit <amount>", "CPU of one replica, such as 500m")
    .option("--memory-request <amount>", "memory to set aside for one replica")
    .option("--cpu-request <amount>", "CPU to set aside for one replica")
    .option("--readonly", "make the root file system read-only");

const amounts = (memory: string | undefined, cpu: string | undefined): ResourceAmounts => ({
  ...(memory === undefined ? {} : { memory }),
  ...(cpu === undefined ? {} : { cpu }),
});

/** The options in the terms of `function.yaml`. */
export const settingsOfFlags = (flags: DeployFlags): FunctionSettings => ({
  ...(flags.namespace === undefined ? {} : { namespace: flags.namespace }),
  ...(flags.fprocess === undefined ? {} : { fprocess: flags.fprocess }),
  environment: { ...flags.env, ...(flags.mode === undefined ? {} : { mode: flags.mode }) },
  ...(flags.label === undefined ? {} : { labels: flags.label }),
  ...(flags.annotation === undefined ? {} : { annotations: flags.annotation }),
  ...(flags.secret === undefined ? {} : { secrets: flags.secret }),
  ...(flags.constraint === undefined ? {} : { constraints: flags.constraint }),
  limits: amounts(flags.memoryLimit, flags.cpuLimit),
  requests: amounts(flags.memoryRequest, flags.cpuRequest),
  ...(flags.readonly === undefined ? {} : { readonly_root_filesystem: flags.readonly }),
});
