import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionSpec, ResourceAmounts } from "../../schemas/function.ts";
import { needsCommand, settingFault } from "../../schemas/function-environment.ts";
import type { FunctionSettings } from "./function-file.ts";

/** The body of POST and PUT /system/functions: OpenFaaS's FunctionDeployment. */
export type FunctionDeployment = Omit<FunctionSpec, "name"> & { readonly service: string };

/** What a function is made from: its name, its own file, what the command line adds, and what its archive holds. */
export interface DeploymentSource {
  readonly name: string;
  readonly namespace: string;
  readonly image: string;
  readonly file: FunctionSettings;
  readonly flags: FunctionSettings;
  /** Absent for an image, which brings its own command. */
  readonly paths?: readonly string[];
}

/** The modules that mode `handler` looks for, in this order. */
export const handlerFiles: readonly string[] = ["handler.mjs", "handler.js", "index.js"];

/** The mode that a folder without `function.yaml` or flags has; throws when there is nothing to tell it by. */
const detectMode = (name: string, paths: readonly string[]): string => {
  if (paths.some((path) => handlerFiles.includes(path))) return "handler";
  throw new BuskerError(
    "invalid_request",
    `cannot tell how to run ${name}: give the command with --fprocess "COMMAND" (or fprocess in function.yaml), ` +
      `or put ${handlerFiles.join(" or ")} at the top; found ${paths.slice(0, 8).join(", ")}`,
  );
};

const checkMode = (name: string, mode: string | undefined): void => {
  const fault = mode ? settingFault("mode", mode) : undefined;
  if (fault !== undefined) throw new BuskerError("invalid_request", `cannot deploy ${name}: ${fault}`);
};

// Never another mode than the one that was asked for, silently.
const missesCommand = (name: string, mode: string): BuskerError =>
  new BuskerError(
    "invalid_request",
    `cannot deploy ${name}: mode ${mode} runs a command, and there is none: give it with --fprocess "COMMAND" ` +
      `(or fprocess in function.yaml), or leave the mode out for a folder with ${handlerFiles.join(" or ")}`,
  );

/** The environment with a mode in it when there is no command: the one that was asked for, or the one detected. */
const withMode = (
  { name, paths }: Pick<DeploymentSource, "name" | "paths">,
  env: FunctionSettings["environment"],
  envProcess: string | undefined,
): FunctionSettings["environment"] => {
  const mode = env?.["mode"];
  checkMode(name, mode);
  if (!paths) return env;
  const command = envProcess || env?.["fprocess"] || env?.["function_process"];
  if (command || (mode && !needsCommand(mode))) return env;
  if (mode) throw missesCommand(name, mode);
  return { ...env, mode: detectMode(name, paths) };
};

/** Maps joined, the later one winning a key; undefined when nothing is in them, because absent and empty differ. */
const join = <T extends object>(...maps: readonly (T | undefined)[]): T | undefined => {
  const joined = Object.assign({}, ...maps) as T;
  return Object.keys(joined).length > 0 ? joined : undefined;
};

const defined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;

/** Joins file and command line (which wins) into what the gateway is sent; throws when it cannot tell how to run it. */
export const buildDeployment = ({
  name,
  namespace,
  image,
  file,
  flags,
  paths,
}: DeploymentSource): FunctionDeployment => {
  const envProcess = flags.fprocess ?? file.fprocess;
  const given = join(file.environment, flags.environment);
  const optional: { [K in keyof FunctionDeployment]?: FunctionDeployment[K] | undefined } = {
    envProcess,
    envVars: withMode(paths ? { name, paths } : { name }, given, envProcess),
    labels: join(file.labels, flags.labels),
    annotations: join(file.annotations, flags.annotations),
    secrets: flags.secrets ?? file.secrets,
    constraints: flags.constraints ?? file.constraints,
    limits: join<ResourceAmounts>(file.limits, flags.limits),
    requests: join<ResourceAmounts>(file.requests, flags.requests),
    readOnlyRootFilesystem: flags.readonly_root_filesystem ?? file.readonly_root_filesystem,
  };
  return { service: name, namespace, image, ...defined(optional as Partial<FunctionDeployment>) };
};
