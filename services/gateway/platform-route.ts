import Router from "@koa/router";
import { BuskerError } from "../../schemas/errors.ts";
import type { Bus } from "../bus/connection.ts";
import type { Directory } from "./directory.ts";
import { release } from "../runtime/release.ts";

/** What the platform's own routes need. */
export interface PlatformParts {
  readonly bus: Pick<Bus, "isConnected">;
  readonly directory: Pick<Directory, "namespaces">;
  readonly backend: string;
}

const architectures: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

const info = (backend: string): unknown => ({
  provider: {
    provider: "busker",
    orchestration: backend === "auto" ? "process" : backend,
    version: { release, sha: release },
  },
  version: { release, sha: release, commit_message: "" },
  arch: architectures[process.arch] ?? process.arch,
});

/** Capabilities of OpenFaaS that this version does not have: said plainly instead of a bare 404. */
const missing: readonly (readonly [string, string])[] = [
  ["/system/telemetry", "telemetry"],
  ["/system/namespace{/*rest}", "changing namespaces"],
  ["/async-function/*rest", "asynchronous invocation"],
];

/** `/healthz`, `/system/info`, `/system/namespaces`, and a 501 for what is not there yet. */
export const createPlatformRoute = ({ bus, directory, backend }: PlatformParts): Router => {
  const router = new Router();
  router.get("/healthz", (context) => {
    if (!bus.isConnected()) throw new BuskerError("bus_unavailable", "no nats-server answers");
    context.body = "OK";
  });
  router.get("/system/info", (context) => {
    context.body = info(backend);
  });
  router.get("/system/namespaces", (context) => {
    context.body = directory.namespaces();
  });
  for (const [path, what] of missing)
    router.all(path, () => {
      throw new BuskerError("unsupported", `${what}: not in Busker ${release}`);
    });
  return router;
};
