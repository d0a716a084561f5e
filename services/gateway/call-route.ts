import Router from "@koa/router";
import type { Context } from "koa";
import type { CallHandler } from "./call-handler.ts";
import { viewWholeCall } from "./call-view.ts";

/**
 * `GET /system/calls/ID` and `…/ID/response`, `DELETE /system/calls/ID`: as under `/async-function/`, always by id, and the
 * first with the request.
 */
export const createCallRoute = (calls: CallHandler): Router => {
  const router = new Router();
  const answer =
    (rest: string) =>
    async (context: Context): Promise<void> => {
      const id = context.path.split("/")[3] ?? "";
      await calls.answer(
        { request: context.req, response: context.res },
        id,
        `${rest}${context.search}`,
        viewWholeCall,
      );
      context.respond = false;
    };
  router.get("/system/calls/:id", answer("/"));
  router.delete("/system/calls/:id", answer("/"));
  router.get("/system/calls/:id/response", answer("/response"));
  return router;
};
