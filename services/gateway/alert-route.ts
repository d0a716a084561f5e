import Router from "@koa/router";
import { BuskerError } from "../../schemas/errors.ts";
import { formatFunctionName, type FunctionName } from "../../schemas/names.ts";
import { readScaleRules, type ScaleRules } from "../../schemas/scale-labels.ts";
import type { Log } from "../runtime/log.ts";
import { asObject, functionOf } from "./app.ts";
import type { Directory } from "./directory.ts";
import { toBuskerError } from "./error-reply.ts";
import { readJson } from "./read-body.ts";
import type { Wishes } from "./wishes.ts";

/** What scaling by alerts needs. */
export interface AlertParts {
  readonly directory: Pick<Directory, "find">;
  readonly wishes: Pick<Wishes, "make">;
  readonly log: Pick<Log, "warn">;
}

/** One alert, as far as it is read. */
interface Alert {
  readonly isFiring: boolean;
  readonly function: FunctionName;
}

// Alertmanager sends the alerts of a group in one request.
const maxAlertBytes = 8 * 1024 * 1024;

/**
 * The replicas that an alert asks for (contract §1.8): each time that it fires a step more, in hundredths of the most;
 * when it is over, the least. A function at zero is left there: that nothing is the matter is no reason to wake it.
 */
export const replicasByAlert = (
  isFiring: boolean,
  current: number,
  { min, max, factor }: Pick<ScaleRules, "min" | "max" | "factor">,
): number => {
  if (!isFiring) return current === 0 ? 0 : min;
  const step = Math.ceil((max / 100) * factor);
  return step > 0 ? Math.max(current, Math.min(current + step, max)) : current;
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

const readAlert = (value: unknown): Alert => {
  const { status, labels } = isObject(value) ? value : {};
  const name = isObject(labels) ? labels["function_name"] : undefined;
  if (typeof status !== "string" || typeof name !== "string")
    throw new BuskerError("invalid_request", "an alert must have a status, and a label function_name");
  return { isFiring: status === "firing", function: functionOf(name, undefined) };
};

const readAlerts = (body: unknown): readonly unknown[] => {
  const { alerts = [] } = asObject(body);
  if (!Array.isArray(alerts)) throw new BuskerError("invalid_request", "alerts must be a list");
  return alerts;
};

// Alertmanager sends a group again after 5xx only: what is wrong with an alert itself will be no better then.
const summary = (faults: ReadonlyMap<number, BuskerError>): BuskerError =>
  new BuskerError(
    [...faults.values()].every(({ code }) => code === "invalid_request") ? "invalid_request" : "internal",
    [...faults].map(([at, { message }]) => `[${at}] ${message}`).join("\n"),
  );

/** `/system/alert`: Alertmanager's webhook, each alert of which is a wish for replicas. */
export const createAlertRoute = ({ directory, wishes, log }: AlertParts): Router => {
  const scale = async ({ isFiring, function: name }: Alert, known: Map<string, number>): Promise<void> => {
    const key = formatFunctionName(name);
    const record = directory.find(key)?.record;
    // Alerts outlive their functions: sent again, this one would be no better.
    if (!record) return log.warn("an alert is about a function that there is not", { function: key });
    const current = known.get(key) ?? record.replicas;
    const replicas = replicasByAlert(isFiring, current, readScaleRules(record.spec));
    if (replicas === current) return;
    known.set(key, replicas);
    await wishes.make("scale", name, { replicas });
  };
  const router = new Router();
  router.post("/system/alert", async (context) => {
    const alerts = readAlerts(await readJson(context.req, maxAlertBytes));
    const faults = new Map<number, BuskerError>();
    // What this request has wished for is in the directory a moment later.
    const known = new Map<string, number>();
    for (const [at, alert] of alerts.entries())
      try {
        await scale(readAlert(alert), known);
      } catch (error) {
        faults.set(at, toBuskerError(error));
      }
    if (faults.size > 0) throw summary(faults);
    context.status = 200;
  });
  return router;
};
