import Router from "@koa/router";
import type { Context } from "koa";
import { type FunctionName, parseFunctionName } from "../../schemas/names.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { Bus } from "../bus/connection.ts";
import { asObject } from "./app.ts";
import { tellStory } from "./call-story.ts";
import { readCallsQuery } from "./calls-query.ts";
import type { CallFinder } from "./find-call.ts";
import { followCalls } from "./follow-calls.ts";
import { listCalls } from "./list-calls.ts";
import { readJson } from "./read-body.ts";
import { unknownCall } from "./replay-call.ts";
import type { Replayer } from "./replayer.ts";

/** What the routes about calls need. */
export interface CallsParts {
  readonly bus: Bus;
  readonly finder: CallFinder;
  readonly replayer: Pick<Replayer, "call">;
}

const maxJsonBytes = 1024 * 1024;

/** A request's JSON object; empty where it has no body. Throws `invalid_request`. */
export const readOptions = async (context: Context): Promise<Readonly<Record<string, unknown>>> => {
  const { "content-length": length, "transfer-encoding": encoding } = context.headers;
  if (encoding === undefined && (length === undefined || length === "0")) return {};
  return asObject(await readJson(context.req, maxJsonBytes));
};

/** The function that `to` of a request for a replay names; undefined where it names none. Throws `invalid_request`. */
export const readTarget = ({ to }: Readonly<Record<string, unknown>>): FunctionName | undefined => {
  if (to === undefined || to === null || to === "") return undefined;
  if (typeof to !== "string")
    throw new BuskerError("invalid_request", `to must be NAME or NAME.NAMESPACE; got ${JSON.stringify(to)}`);
  return parseFunctionName(to);
};

const wantsEvents = (context: Context): boolean => /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(context.get("accept"));

/** `/system/calls`: lists, the live stream of changes, the story of one call, and running one again. */
export const createCallsRoute = ({ bus, finder, replayer }: CallsParts): Router => {
  const router = new Router();
  router.get("/system/calls", async (context) => {
    const query = readCallsQuery(context.query, new Date());
    context.set("cache-control", "no-store");
    if (!query.follow && !wantsEvents(context)) {
      context.body = await listCalls(bus, query);
      return;
    }
    const output = await followCalls(bus, query, context.get("last-event-id") || undefined);
    context.type = "text/event-stream";
    // A proxy that collects answers would keep the changes.
    context.set("x-accel-buffering", "no");
    context.body = output;
    context.flushHeaders();
  });
  router.get("/system/calls/:id/story", async (context) => {
    const id = context.params["id"] ?? "";
    const found = await finder.find(id);
    if (!found) throw unknownCall(id);
    context.body = await tellStory(bus, id, found);
  });
  router.post("/system/calls/:id/replay", async (context) => {
    const options = await readOptions(context);
    const replayed = await replayer.call(context.params["id"] ?? "", readTarget(options));
    if (replayed.id !== undefined) context.set("x-call-id", replayed.id);
    context.status = 202;
    context.body = replayed;
  });
  return router;
};
