import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { BuskerError } from "../../../schemas/errors.ts";
import type { Environment } from "../../runtime/config.ts";
import { distFolder } from "../paths.ts";

/** An engine that answers, made ready for this platform. */
export interface ReadyEngine {
  /** Such as `Docker Engine 20.10.24`. */
  readonly name: string;
  /** Where nats-server is to listen, so that containers reach it. */
  readonly address: string;
}

/** This machine's engine, or why there is none. */
export type EngineAnswer =
  | { readonly kind: "ready"; readonly engine: ReadyEngine }
  | { readonly kind: "none"; readonly why: string };

/** What is done in the engine for a data folder. The provider's own program does it: it alone speaks to engines. */
export interface EngineProgram {
  readonly prepare: () => Promise<EngineAnswer>;
  /** Ends the containers that are left when the provider has gone, and removes the platform's networks. */
  readonly stop: () => Promise<void>;
  /** The same at once; goes on when this process ends. */
  readonly kill: () => void;
}

interface Answer {
  readonly engine?: string;
  readonly address?: string;
  readonly error?: string;
}

const programFile = (): string => {
  const file = join(distFolder, "services/provider/engine.js");
  if (existsSync(file)) return file;
  throw new BuskerError("internal", `cannot start: there is no ${file}; build it with node scripts/build.mjs`);
};

/** The engine of this machine, as the standard variables (`DOCKER_HOST` …) name it. */
export const openEngineProgram = (dataFolder: string, env: Environment): EngineProgram => {
  const file = programFile();
  const start = (verb: string) =>
    // A group of its own: Ctrl-C is for the platform, which then asks for the end of its containers.
    spawn(process.execPath, [file, verb, dataFolder], { env, stdio: ["ignore", "pipe", "pipe"], detached: true });

  const run = async (verb: string): Promise<Answer> => {
    const child = start(verb);
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    try {
      return JSON.parse(stdout) as Answer;
    } catch {
      return { error: stderr.trim() || `${file} ${verb} said nothing` };
    }
  };

  return {
    prepare: async () => {
      const { engine: name, address, error } = await run("prepare");
      if (name === undefined || address === undefined) return { kind: "none", why: error ?? "it said nothing" };
      return { kind: "ready", engine: { name, address } };
    },
    stop: async () => {
      const { error } = await run("stop");
      if (error !== undefined) throw new BuskerError("internal", error);
    },
    kill: () => start("kill").unref(),
  };
};
