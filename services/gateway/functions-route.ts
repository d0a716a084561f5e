import Router from "@koa/router";
import { BuskerError } from "../../schemas/errors.ts";
import { maxReplicas } from "../../schemas/function.ts";
import { defaultNamespace, type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { asObject, functionOf, queryText } from "./app.ts";
import { readDeployment } from "./deployment.ts";
import type { Directory, FunctionEntry } from "./directory.ts";
import { viewFunction } from "./function-view.ts";
import { readJson } from "./read-body.ts";
import { invocationsOf } from "./totals/function-totals.ts";
import type { Totals } from "./totals/totals.ts";
import { answerWish } from "./wish-answer.ts";
import type { Wishes } from "./wishes.ts";

/** What the functions' routes need. */
export interface FunctionsParts {
  readonly directory: Directory;
  readonly wishes: Wishes;
  readonly totals: Pick<Totals, "of">;
}

// A deployment is a page of JSON; a megabyte of it is a mistake.
const maxJsonBytes = 1024 * 1024;

const optionalText = (body: Readonly<Record<string, unknown>>, field: string): string | undefined => {
  const value = body[field];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  throw new BuskerError("invalid_request", `${field} must be a string; got ${JSON.stringify(value)}`);
};

const readReplicas = (body: Readonly<Record<string, unknown>>): number => {
  const { replicas } = body;
  if (typeof replicas === "number" && Number.isInteger(replicas) && replicas >= 0 && replicas <= maxReplicas)
    return replicas;
  throw new BuskerError(
    "invalid_request",
    `replicas must be a whole number from 0 to ${maxReplicas}; got ${JSON.stringify(replicas)}`,
  );
};

const assertKnown = (directory: Directory, name: FunctionName): void => {
  if (!directory.find(formatFunctionName(name)))
    throw new BuskerError("function_not_found", `there is no function ${formatFunctionName(name)}`);
};

/** `/system/functions`, `/system/function/NAME` and `/system/scale-function/NAME` (contract §1.2, §1.6). */
export const createFunctionsRoute = ({ directory, wishes, totals }: FunctionsParts): Router => {
  const router = new Router();
  const view = (entry: FunctionEntry): Record<string, unknown> =>
    viewFunction(entry, directory.status(entry.function), invocationsOf(totals.of(entry.function)));
  router.get("/system/functions", (context) => {
    const namespace = queryText(context.query["namespace"]) ?? defaultNamespace;
    context.body = directory.list(namespace).map(view);
  });
  for (const [method, verb] of [
    ["post", "deploy"],
    ["put", "update"],
  ] as const)
    router[method]("/system/functions", async (context) => {
      const spec = readDeployment(await readJson(context.req, maxJsonBytes), queryText(context.query["namespace"]));
      await answerWish(context, (tell) => wishes.make(verb, spec, { spec }, tell));
    });
  router.delete("/system/functions", async (context) => {
    const body = asObject(await readJson(context.req, maxJsonBytes));
    const name = functionOf(
      optionalText(body, "functionName"),
      optionalText(body, "namespace") ?? queryText(context.query["namespace"]),
    );
    context.body = await wishes.make("remove", name, {});
    context.status = 202;
  });
  router.get("/system/function/:name", (context) => {
    const name = functionOf(context.params["name"], queryText(context.query["namespace"]));
    const entry = directory.find(formatFunctionName(name));
    if (!entry) throw new BuskerError("function_not_found", `there is no function ${formatFunctionName(name)}`);
    context.body = view(entry);
  });
  router.post("/system/scale-function/:name", async (context) => {
    const body = asObject(await readJson(context.req, maxJsonBytes));
    const namespace = queryText(context.query["namespace"]) ?? optionalText(body, "namespace");
    const name = functionOf(context.params["name"], namespace);
    const replicas = readReplicas(body);
    assertKnown(directory, name);
    context.body = await wishes.make("scale", name, { replicas });
    context.status = 202;
  });
  return router;
};
