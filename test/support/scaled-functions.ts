import { eventually, type TestPlatform } from "./platform.ts";

/** A server that answers its process id after `?ms=`. */
const server = `
import { createServer } from "node:http";
createServer((request, response) => {
  const waitMs = Number(new URL(request.url, "http://f").searchParams.get("ms") ?? 0);
  setTimeout(() => response.end(String(process.pid)), waitMs);
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

/** What is deployed besides its labels. */
export interface ScaledMore {
  /** Of its HTTP server. */
  readonly code?: string;
  readonly envVars?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Deploys a function in mode `http` with labels by what stands behind `com.openfaas.scale.`. */
export const deployScaled = (
  platform: TestPlatform,
  name: string,
  labels: Readonly<Record<string, string>>,
  { code = server, envVars = {}, annotations = {} }: ScaledMore = {},
): Promise<Response> =>
  platform.deploy({
    name,
    code: { "server.mjs": code },
    envVars: { mode: "http", ...envVars },
    more: {
      envProcess: "node server.mjs",
      annotations,
      labels: Object.fromEntries(Object.entries(labels).map(([key, value]) => [`com.openfaas.scale.${key}`, value])),
    },
  });

/** Replicas that are wished for, or that answer. */
export const countReplicas = async (
  platform: TestPlatform,
  name: string,
  key: "replicas" | "availableReplicas",
): Promise<number> => Number((await platform.status(name))[key] ?? 0);

/** Waits until there are so many. */
export const untilReplicas = (
  platform: TestPlatform,
  name: string,
  key: "replicas" | "availableReplicas",
  wanted: number,
): Promise<true> =>
  eventually(
    `${wanted} ${key} of ${name}`,
    async () => ((await countReplicas(platform, name, key)) === wanted ? true : undefined),
    60_000,
  );
