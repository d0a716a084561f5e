import { type FunctionName, parseFunctionName } from "../../../schemas/names.ts";
import { BuskerError } from "../../../schemas/errors.ts";

/** A function of this platform, as a URL names it. */
export interface OwnFunction {
  readonly function: FunctionName;
  /** Below the function's name, with the query. */
  readonly path: string;
}

// As functions and users of OpenFaaS know the gateway, wherever it runs.
const gatewayNames = ["gateway", "gateway.openfaas", "gateway.openfaas.svc.cluster.local"];
const gatewayPort = 8080;

/** Every `host:port` that is this platform's gateway: the usual names, this machine's, and that of `gatewayUrl`, unless it is empty. */
export const ownGateways = (port: number, gatewayUrl: string): ReadonlySet<string> =>
  new Set([
    ...gatewayNames.map((name) => `${name}:${gatewayPort}`),
    ...["127.0.0.1", "localhost", "[::1]"].map((name) => `${name}:${port}`),
    ...(gatewayUrl === "" ? [] : [hostAndPort(new URL(gatewayUrl))]),
  ]);

/** The host of a URL and its port, in the usual form. */
export const hostAndPort = ({ protocol, hostname, port }: URL): string =>
  `${hostname}:${port === "" ? (protocol === "https:" ? 443 : 80) : port}`;

/**
 * The function that a URL of this platform's gateway names, asynchronous or not; undefined when it is anything else: then it is an
 * address like any other.
 */
export const findOwnFunction = (url: string, gateways: ReadonlySet<string>): OwnFunction | undefined => {
  if (!URL.canParse(url)) return undefined;
  const parsed = new URL(url);
  const match = /^\/(?:async-)?function\/([^/]+)(\/.*)?$/.exec(parsed.pathname);
  if (!match?.[1] || !gateways.has(hostAndPort(parsed))) return undefined;
  try {
    return { function: parseFunctionName(match[1]), path: `${match[2] ?? "/"}${parsed.search}` };
  } catch (cause) {
    if (cause instanceof BuskerError) return undefined;
    throw cause;
  }
};
