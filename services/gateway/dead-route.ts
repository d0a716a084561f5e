import Router from "@koa/router";
import type { Context } from "koa";
import { toBuskerError } from "./error-reply.ts";
import { BuskerError, type ErrorCode } from "../../schemas/errors.ts";
import { type FunctionName, formatFunctionName, parseFunctionName } from "../../schemas/names.ts";
import type { DeadLetters, LetterBrief } from "../bus/dead-letters.ts";
import { viewRecord } from "./call-story.ts";
import { readFlag, readFunction, readLimit } from "./calls-query.ts";
import { readOptions, readTarget } from "./calls-route.ts";
import { type LetterOptions, noLetter, type Replayed, type Replayer } from "./replayer.ts";

/** What the routes about dead letters need. */
export interface DeadParts {
  readonly letters: DeadLetters;
  readonly replayer: Pick<Replayer, "letter">;
}

/** What became of many. */
interface ReplayedMany {
  readonly replayed: readonly Replayed[];
  readonly failed: readonly { readonly id: string; readonly code: ErrorCode; readonly message: string }[];
  /** The function has more letters than one request replays. */
  readonly more: boolean;
}

// Of one request: a minute of work at the very most.
const maxReplays = 1000;
// At a time: each may hold two bodies of a megabyte.
const concurrency = 8;

const viewBrief = ({ atMs, function: name, ...brief }: LetterBrief): object => ({
  ...brief,
  function: formatFunctionName(name),
  at: new Date(atMs).toISOString(),
});

const readIds = (ids: unknown): readonly string[] => {
  if (Array.isArray(ids) && ids.length <= maxReplays && ids.every((id): id is string => typeof id === "string"))
    return ids;
  throw new BuskerError("invalid_request", `ids must be a list of at most ${maxReplays} call ids`);
};

const readOneFunction = (value: unknown): FunctionName => {
  if (typeof value === "string" && value !== "") return parseFunctionName(value);
  throw new BuskerError("invalid_request", `either ids or function must say which; got ${JSON.stringify(value)}`);
};

const readKeep = ({ keep = false }: Readonly<Record<string, unknown>>): boolean => {
  if (typeof keep === "boolean") return keep;
  throw new BuskerError("invalid_request", `keep must be true or false; got ${JSON.stringify(keep)}`);
};

const requireFunction = (context: Context): FunctionName => {
  const name = readFunction(context.query);
  if (name) return name;
  throw new BuskerError("invalid_request", "function must say whose dead letters are to go");
};

/** Replays letters a few at a time; one that fails keeps its letter and stops none of the others. */
const replayMany = async (
  replayer: Pick<Replayer, "letter">,
  ids: readonly string[],
  options: LetterOptions,
): Promise<Omit<ReplayedMany, "more">> => {
  const replayed: Replayed[] = [];
  const failed: ReplayedMany["failed"][number][] = [];
  const queue = [...ids];
  const work = async (): Promise<void> => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      try {
        replayed.push(await replayer.letter(id, options));
      } catch (thrown) {
        const { code, message } = toBuskerError(thrown);
        failed.push({ id, code, message });
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return { replayed, failed };
};

/** `/system/dead`: dead letters, to be seen, replayed and thrown away. */
export const createDeadRoute = ({ letters, replayer }: DeadParts): Router => {
  const router = new Router();
  const idOf = (context: Context & { readonly params: Record<string, string> }): string => context.params["id"] ?? "";
  router.get("/system/dead", async (context) => {
    const { letters: found, more } = await letters.list(readFunction(context.query), readLimit(context.query));
    context.body = { letters: found.map(viewBrief), more };
  });
  router.delete("/system/dead", async (context) => {
    context.body = { purged: await letters.purge(requireFunction(context)) };
  });
  router.post("/system/dead/replay", async (context) => {
    const body = await readOptions(context);
    const options = { to: readTarget(body), keep: readKeep(body) };
    if (body["ids"] !== undefined) {
      context.body = { ...(await replayMany(replayer, readIds(body["ids"]), options)), more: false };
      return;
    }
    const { letters: found, more } = await letters.list(readOneFunction(body["function"]), maxReplays);
    // In the order in which they died.
    const ids = found.map(({ id }) => id).toReversed();
    context.body = { ...(await replayMany(replayer, ids, options)), more };
  });
  router.get("/system/dead/:id", async (context) => {
    const letter = await letters.read(idOf(context));
    if (!letter) throw noLetter(idOf(context));
    context.body = viewRecord(letter);
  });
  router.delete("/system/dead/:id", async (context) => {
    const letter = await letters.read(idOf(context));
    if (!letter) throw noLetter(idOf(context));
    await letters.remove(letter);
    context.status = 204;
  });
  router.post("/system/dead/:id/replay", async (context) => {
    const body = await readOptions(context);
    const keep = readKeep(body) || readFlag(context.query, "keep");
    const replayed = await replayer.letter(idOf(context), { to: readTarget(body), keep });
    if (replayed.id !== undefined) context.set("x-call-id", replayed.id);
    context.status = 202;
    context.body = replayed;
  });
  return router;
};
