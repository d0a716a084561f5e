import type { Environment } from "../runtime/config.ts";
import { usageError } from "./usage-error.ts";

/** Where the gateway is: the flag, else BUSKER_URL, else OPENFAAS_URL, else this machine at BUSKER_PORT or 8080. */
export const resolveGatewayUrl = (flag: string | undefined, env: Environment): string => {
  const text = flag || env["BUSKER_URL"] || env["OPENFAAS_URL"] || `http://127.0.0.1:${env["BUSKER_PORT"] || 8080}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url.href.replace(/\/+$/, "");
  throw usageError(`the gateway must be a URL that begins with http:// or https://; got ${JSON.stringify(text)}`);
};

/** Whether a gateway is on this machine, so that this machine's own password may be sent to it. */
export const isLocalGateway = (gatewayUrl: string): boolean =>
  ["127.0.0.1", "localhost", "[::1]"].includes(new URL(gatewayUrl).hostname);
