import {
  defaultMode,
  needsCommand,
  settingFault,
  type SettingKey,
  settingRules,
} from "../../schemas/function-environment.ts";

const settingKeys = Object.keys(settingRules) as SettingKey[];

// What a process' environment can hold at all (environ(7)).
const checkName = (key: string, value: string): string | undefined => {
  if (key === "" || key.includes("=") || key.includes("\0"))
    return `envVars must have names without = and NUL; got ${JSON.stringify(key)}`;
  return value.includes("\0") ? `envVars.${key} must hold no NUL` : undefined;
};

const hasCommand = (env: Readonly<Record<string, string>>, envProcess: string | undefined): boolean =>
  [env["function_process"], envProcess ?? env["fprocess"]].some((command) => (command ?? "").trim() !== "");

/**
 * What is wrong with a function's environment, a sentence each; empty when nothing is. The watchdog would refuse to start
 * by the same rules, and whoever deploys learns it before anything runs.
 */
export const checkEnvironment = (env: Readonly<Record<string, string>>): readonly string[] => [
  ...Object.entries(env).flatMap(([key, value]) => checkName(key, value) ?? []),
  ...settingKeys.flatMap((key) => (env[key] && settingFault(key, env[key], `envVars.${key}`)) || []),
];

/** What is wrong with the command of a bundle, a sentence or none. An image brings a command of its own. */
export const checkCommand = (
  env: Readonly<Record<string, string>>,
  envProcess: string | undefined,
): readonly string[] => {
  const mode = env["mode"] || defaultMode;
  if (!needsCommand(mode) || hasCommand(env, envProcess)) return [];
  return [`envProcess must be a command in mode ${mode}; got ${JSON.stringify(envProcess ?? env["fprocess"] ?? "")}`];
};
