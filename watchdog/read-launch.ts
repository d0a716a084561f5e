import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { ReplicaLaunch } from "../schemas/launch.ts";
import type { ObtainedLaunch } from "./enrol.ts";

/** Where a launch may come from, and the environment that it may inherit from. */
export interface LaunchSources {
  /** Asks the provider for a launch, by the content of a bootstrap file. */
  readonly enrol: (bootstrap: string) => Promise<ObtainedLaunch>;
  /** Standard input: opening it takes a moment, and a launch in a file does not need it. */
  readonly openInput: () => Readable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How long the input may take to end. */
  readonly withinMs: number;
}

/** Reads an input to its end, so that nothing of it is left for whoever has the same pipe. */
const readInput = async ({ openInput, withinMs }: LaunchSources): Promise<string> => {
  const input = openInput();
  const late = new Error(`no launch came by standard input within ${withinMs} ms`);
  // Nobody is there to write it when a container is started by its engine, or by hand.
  const timer = setTimeout(() => input.destroy(late), withinMs);
  try {
    return await text(input);
  } finally {
    clearTimeout(timer);
  }
};

/** The function's environment with what the engine has set for the container. */
const inheritEnvironment = (launch: ReplicaLaunch, env: LaunchSources["env"]): ReplicaLaunch => {
  const given = (launch.inherit ?? []).flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...launch, env: { ...Object.fromEntries(given), ...launch.env } };
};

/** Never repeats the text, which holds credentials: JSON.parse would. */
const parse = (content: string, from: string): ReplicaLaunch => {
  if (content === "") throw new Error(`the launch is empty: nothing came by ${from}`);
  try {
    return JSON.parse(content) as ReplicaLaunch;
  } catch {
    throw new Error(`the launch that came by ${from} is not JSON: it has ${content.length} characters`);
  }
};

const enrolScheme = "enrol:";

const obtain = async (path: string, sources: LaunchSources): Promise<ObtainedLaunch> => {
  if (path === "-") return { launch: parse(await readInput(sources), "standard input") };
  if (path.startsWith(enrolScheme)) return sources.enrol(readFileSync(path.slice(enrolScheme.length), "utf8"));
  return { launch: parse(readFileSync(path, "utf8"), path) };
};

/**
 * Reads a replica's launch from a file, or from standard input for `-`, or asks the provider for it with what is in the
 * file for `enrol:FILE`. Throws saying why it cannot.
 */
export const readLaunch = async (path: string | undefined, sources: LaunchSources): Promise<ObtainedLaunch> => {
  if (path === undefined)
    throw new Error("usage: watchdog LAUNCH-FILE, or - for standard input, or enrol:BOOTSTRAP-FILE");
  const { launch, fault } = await obtain(path, sources);
  return { launch: inheritEnvironment(launch, sources.env), fault };
};
