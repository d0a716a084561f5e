import { BuskerError, type ErrorCode, errorCatalogue, isErrorCode } from "../../schemas/errors.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { basicAuthorization } from "./find-credentials.ts";
import type { Credentials } from "./login-store.ts";

/** A request to the gateway's API. */
export interface ApiRequest {
  readonly method?: string;
  /** Begins with `/`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly json?: unknown;
  readonly body?: Uint8Array;
  readonly contentType?: string;
  /** What it can read as an answer. */
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

/** One gateway, as one user. */
export interface GatewayClient {
  readonly url: string;
  /** Sends a request; rejects with `bus_unavailable` when nobody answers at this URL. A status is not an error. */
  readonly send: (request: ApiRequest) => Promise<Response>;
  /** As `send`, but rejects when the status is not 2xx; `what` says what could not be done: `list functions`. */
  readonly call: (what: string, request: ApiRequest) => Promise<Response>;
  /** The error that a response with a status other than 2xx stands for; reads its body. */
  readonly failure: (what: string, response: Response) => Promise<BuskerError>;
}

/** The error of a gateway that cannot be reached, with what to do about it. */
export const unreachable = (gatewayUrl: string, cause: unknown): BuskerError =>
  new BuskerError("bus_unavailable", `cannot reach the gateway at ${gatewayUrl} (is \`busker up\` running there?)`, {
    cause,
  });

const codeOfStatus = (status: number): ErrorCode => {
  const known = Object.entries(errorCatalogue).find(([, row]) => row.status === status);
  return known ? (known[0] as ErrorCode) : "internal";
};

const messageOf = (text: string): string => {
  try {
    const value = JSON.parse(text) as { message?: unknown; error?: { message?: unknown } | string } | null;
    const message = value?.message ?? (typeof value?.error === "string" ? value.error : value?.error?.message);
    return typeof message === "string" ? message : text;
  } catch {
    return text;
  }
};

/**
 * The error that a response with a status other than 2xx stands for; reads its body. `refusal` says what a 401 means.
 */
export const errorOfResponse = async (what: string, response: Response, refusal: string): Promise<BuskerError> => {
  const text = messageOf((await response.text()).trim());
  if (response.status === 401) return new BuskerError("unauthorized", `cannot ${what}: ${refusal}`);
  const header = response.headers.get(wireHeaders.error) ?? "";
  const code = isErrorCode(header) ? header : codeOfStatus(response.status);
  return new BuskerError(code, `cannot ${what}: ${text || "no reason given"} (HTTP ${response.status})`);
};

const urlOf = (gatewayUrl: string, { path, query = {} }: ApiRequest): string => {
  const present = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const search = new URLSearchParams(present).toString();
  return `${gatewayUrl}${path}${search && `?${search}`}`;
};

const initOf = (
  { method = "GET", json, body, contentType, accept, signal }: ApiRequest,
  authorization: string | undefined,
) => ({
  method,
  redirect: "manual" as const,
  headers: {
    "user-agent": "busker-cli",
    ...(authorization === undefined ? {} : { authorization }),
    ...(accept === undefined ? {} : { accept }),
    ...(json === undefined ? {} : { "content-type": "application/json" }),
    ...(contentType === undefined ? {} : { "content-type": contentType }),
  },
  ...(signal === undefined ? {} : { signal }),
  ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  ...(body === undefined ? {} : { body }),
});

/** A client of the gateway at `url`, with credentials or without; `refusal` is what a 401 means to its user. */
export const createGatewayClient = (
  url: string,
  credentials: Credentials | undefined,
  refusal = `${url} refused this user name and password`,
): GatewayClient => {
  const authorization = credentials && basicAuthorization(credentials);
  const send = async (request: ApiRequest): Promise<Response> => {
    try {
      return await fetch(urlOf(url, request), initOf(request, authorization));
    } catch (error) {
      if (request.signal?.aborted) throw error;
      throw unreachable(url, error instanceof Error ? error.cause : error);
    }
  };
  const failure = (what: string, response: Response): Promise<BuskerError> => errorOfResponse(what, response, refusal);
  const call = async (what: string, request: ApiRequest): Promise<Response> => {
    const response = await send(request);
    if (response.ok) return response;
    throw await failure(what, response);
  };
  return { url, send, call, failure };
};
