import Router from "@koa/router";
import { formatFunctionName } from "../../schemas/names.ts";
import type { ScaleExplanation } from "../../schemas/scaler.ts";
import { explainSubject } from "../../schemas/subjects.ts";
import { ask } from "../bus/ask.ts";
import type { Bus } from "../bus/connection.ts";
import { functionOf, queryText } from "./app.ts";

// The active scaler has the answer at hand.
const explainTimeoutMs = 5000;

/** `GET /system/scaler/NAME`: why a function has as many replicas as it has, as the active scaler tells it. */
export const createScalerRoute = (bus: Bus): Router => {
  const router = new Router();
  router.get("/system/scaler/:name", async (context) => {
    const { namespace, name } = functionOf(context.params["name"], queryText(context.query["namespace"]));
    context.body = await ask<"io.busker.scaler.explain", ScaleExplanation>(bus, {
      subject: explainSubject(namespace, name),
      type: "io.busker.scaler.explain",
      data: {},
      what: `explain the replicas of ${formatFunctionName({ namespace, name })}`,
      timeoutMs: explainTimeoutMs,
      who: "scaler",
    });
  });
  return router;
};
