import Router from "@koa/router";
import type { RecordedLoad } from "../../schemas/backtest.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { formatFunctionName } from "../../schemas/names.ts";
import type { Bus } from "../bus/connection.ts";
import { readLoads } from "../bus/read-loads.ts";
import { functionOf, queryText } from "./app.ts";
import type { Directory } from "./directory.ts";

/** Of a spec what decides how its function is scaled. */
const scaledBy = ({ name, namespace, image, labels, annotations, envVars }: FunctionSpec): FunctionSpec => ({
  name,
  namespace,
  image,
  ...(labels ? { labels } : {}),
  ...(annotations ? { annotations } : {}),
  envVars: { max_inflight: envVars?.["max_inflight"] ?? "0" },
});

/** `GET /system/scaler/load?function=NAME`: the log of a function's load, a minute each, and by what it is scaled. */
export const createLoadRoute = (bus: Bus, directory: Pick<Directory, "find">): Router => {
  const router = new Router();
  router.get("/system/scaler/load", async (context, next) => {
    const name = queryText(context.query["function"]);
    // Without it, it is a function of this name that is asked about.
    if (name === undefined) return next();
    const found = functionOf(name, queryText(context.query["namespace"]));
    const key = formatFunctionName(found);
    const record = directory.find(key)?.record;
    if (!record) throw new BuskerError("function_not_found", `there is no function ${key}`);
    const load: RecordedLoad = { spec: scaledBy(record.spec), minutes: await readLoads(bus, found) };
    context.body = load;
    return undefined;
  });
  return router;
};
