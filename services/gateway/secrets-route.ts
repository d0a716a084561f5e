import type { IncomingMessage } from "node:http";
import Router from "@koa/router";
import { BuskerError } from "../../schemas/errors.ts";
import { checkName, defaultNamespace } from "../../schemas/names.ts";
import { maxSecretBytes } from "../../schemas/secret.ts";
import { asObject, queryText } from "./app.ts";
import { readJson } from "./read-body.ts";
import { readSecretName, readSecretValue } from "./secret-body.ts";
import type { Secrets } from "./secrets.ts";

// JSON may write each byte of a value in six: \u0000.
const maxJsonBytes = 6 * maxSecretBytes + 64 * 1024;

// JSON.parse quotes what it could not read, and that may be a value: its words are not passed on, as cause neither.
const readPrivateJson = async (request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> => {
  const body = await readJson(request, maxJsonBytes).catch((error: unknown) => {
    throw error instanceof BuskerError && error.code === "invalid_request"
      ? new BuskerError("invalid_request", "the request body must be JSON")
      : error;
  });
  return asObject(body);
};

/** `/system/secrets` (contract §1.2, §1.6): values go in, and never come out. */
export const createSecretsRoute = (secrets: Secrets): Router => {
  const router = new Router();
  router.get("/system/secrets", async (context) => {
    const namespace = checkName("namespace", queryText(context.query["namespace"]) ?? defaultNamespace);
    context.body = (await secrets.list(namespace)).map((name) => ({ name, namespace }));
  });
  for (const [method, act, status] of [
    ["post", "create", 201],
    ["put", "update", 202],
  ] as const)
    router[method]("/system/secrets", async (context) => {
      const body = await readPrivateJson(context.req);
      const secret = readSecretName(body, queryText(context.query["namespace"]));
      await secrets[act](secret, readSecretValue(body));
      context.status = status;
      context.body = secret;
    });
  router.delete("/system/secrets", async (context) => {
    const body = await readPrivateJson(context.req);
    const secret = readSecretName(body, queryText(context.query["namespace"]));
    await secrets.remove(secret);
    context.status = 202;
    context.body = secret;
  });
  return router;
};
