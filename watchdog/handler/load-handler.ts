import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { BuskerError } from "../../schemas/errors.ts";
import type { HandlerContext } from "./handler-context.ts";
import type { HandlerEvent } from "./handler-event.ts";

/** A function's code: it returns its answer, a promise of it, or calls `callback` (when it takes three arguments). */
export type Handler = (
  event: HandlerEvent,
  context: HandlerContext,
  callback: (error: unknown, value?: unknown) => void,
) => unknown;

/** A function's code and what it asks for. */
export interface LoadedHandler {
  readonly handler: Handler;
  /** `event.body` is to be a stream: the module, or its handler, says `streamBody: true`. */
  readonly streamsBody: boolean;
}

/** Where a handler is looked for when `handler` names none. */
const defaultFiles: readonly string[] = ["handler.mjs", "handler.js", "index.js"];

const findFile = (cwd: string, path: string | undefined): string => {
  const tried = (path === undefined ? defaultFiles : [path]).map((name) => resolve(cwd, name));
  const file = tried.find((name) => existsSync(name));
  if (file !== undefined) return file;
  throw new BuskerError("start_failed", `cannot find the function's handler: none of ${tried.join(", ")} exists`);
};

const isHandler = (value: unknown): value is Handler => typeof value === "function";

/** The export that is the handler: `export default`, `module.exports`, or either of them compiled from the other. */
const pick = (module: unknown, depth = 0): Handler | undefined => {
  if (isHandler(module)) return module;
  if (typeof module !== "object" || module === null || depth > 2) return undefined;
  const exported = module as Record<string, unknown>;
  return pick(exported["default"], depth + 1) ?? [exported["handler"], exported["handle"]].find(isHandler);
};

const importFile = async (file: string): Promise<unknown> => {
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new BuskerError("start_failed", `cannot load the function's handler ${file}: ${told}`, { cause: error });
  }
};

/** Whether a module asks for its body as a stream, by an export beside the handler or by a property of it. */
const asksForStream = (module: unknown, handler: Handler): boolean => {
  const holders: readonly unknown[] = [module, (module as Record<string, unknown>)["default"], handler];
  return holders.some((holder) => (holder as Record<string, unknown> | undefined)?.["streamBody"] === true);
};

/** Loads a function's handler. Throws `start_failed` when there is none, it cannot be loaded, or it exports no function. */
export const loadHandler = async (cwd: string, path: string | undefined): Promise<LoadedHandler> => {
  const file = findFile(cwd, path);
  const module = await importFile(file);
  const handler = pick(module);
  if (handler) return { handler, streamsBody: asksForStream(module, handler) };
  throw new BuskerError(
    "start_failed",
    `cannot use the handler ${file}: it must export a function as default or as module.exports`,
  );
};
