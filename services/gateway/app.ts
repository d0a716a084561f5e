import Router from "@koa/router";
import Koa from "koa";
import { BuskerError } from "../../schemas/errors.ts";
import { type FunctionName, parseFunctionName } from "../../schemas/names.ts";
import type { ApiRequests } from "./api-requests.ts";
import { errorHeaders, toBuskerError } from "./error-reply.ts";
import { askForBody } from "./read-body.ts";

// How the sending of an answer ends when its reader goes away, which is the reader's right and no fault.
const clientGone: ReadonlySet<string> = new Set(["ERR_STREAM_PREMATURE_CLOSE", "ECONNRESET", "EPIPE"]);

/** A Koa application in which a thrown error becomes the answer its code asks for. */
export const createApp = (
  authorize: (header: string | undefined) => boolean,
  routes: readonly Router[],
  answered: ApiRequests["answered"] = () => {},
): Koa => {
  const app = new Koa();
  app.use(async (context, next) => {
    const startMs = performance.now();
    await next();
    const path = typeof context["_matchedRoute"] === "string" ? context["_matchedRoute"] : "other";
    answered({ method: context.method, path, status: context.status }, (performance.now() - startMs) / 1000);
  });
  app.on("error", (error: NodeJS.ErrnoException) => {
    if (!clientGone.has(error.code ?? "")) app.onerror(error);
  });
  app.use(async (context, next) => {
    try {
      await next();
      // The router has answered OPTIONS, or set the status and the header Allow.
      if (context.status === 405)
        throw new BuskerError(
          "method_not_allowed",
          `${context.path} takes ${context.response.get("allow")}; got ${context.method}`,
        );
      if (context.status === 404 && !context.body)
        throw new BuskerError("not_found", `there is nothing at ${context.method} ${context.path}`);
    } catch (thrown) {
      const error = toBuskerError(thrown);
      context.status = error.status;
      context.set(errorHeaders(error));
      context.body = `${error.message}\n`;
    }
  });
  app.use(async (context, next) => {
    const guarded = /^\/(system|ui)(\/|$)/.test(context.path);
    if (guarded && !authorize(context.get("authorization")))
      throw new BuskerError("unauthorized", "invalid credentials");
    askForBody(context.req, context.res);
    await next();
  });
  for (const router of routes) {
    app.use(router.routes());
    app.use(router.allowedMethods());
  }
  return app;
};

/** The function a `/system/…/NAME?namespace=` request is about. */
export const functionOf = (name: string | undefined, namespace: string | undefined): FunctionName => {
  if (!name) throw new BuskerError("invalid_request", "the function's name is missing");
  return parseFunctionName(namespace && !name.includes(".") ? `${name}.${namespace}` : name);
};

/** A body that must be a JSON object. Throws `invalid_request` without repeating it. */
export const asObject = (body: unknown): Readonly<Record<string, unknown>> => {
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return body as Record<string, unknown>;
  throw new BuskerError("invalid_request", "the body must be a JSON object");
};

/** A query parameter's only or first value. */
export const queryText = (value: string | string[] | undefined): string | undefined =>
  (Array.isArray(value) ? value[0] : value) || undefined;
