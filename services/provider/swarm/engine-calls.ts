import type Docker from "dockerode";
import type { AuthConfig } from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { engineReason, engineStatus } from "../container/engine-error.ts";

/** Whether an engine's error has this HTTP status. */
export const hasStatus = (error: unknown, status: number): boolean => engineStatus(error) === status;

/** What a manager says, without what its own parts put around it. */
export const swarmReason = (error: unknown): string =>
  engineReason(error).replace(/^rpc error: code = \w+ desc = /, "");

/** Gives undefined for what is not there. */
export const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
};

/** A refusal of the engine as the catalogue has it: a 4xx is about what was asked. */
export const engineFault = (what: string, error: unknown): BuskerError => {
  if (error instanceof BuskerError) return error;
  const statusCode = engineStatus(error) ?? 500;
  return new BuskerError(
    statusCode >= 400 && statusCode < 500 ? "invalid_request" : "start_failed",
    `${what}: ${swarmReason(error)}`,
  );
};

/** dockerode's calls about services as they are: its types do not know what it takes a query from. */
interface ServiceCalls {
  createService(auth: AuthConfig | undefined, spec: object): Promise<{ readonly id: string }>;
  getService(id: string): {
    update(
      auth: AuthConfig | undefined,
      options: { readonly _query: object; readonly _body: object },
    ): Promise<unknown>;
  };
}

/** Makes a service and gives its id. */
export const createService = async (docker: Docker, spec: object, auth?: AuthConfig): Promise<string> =>
  (await (docker as unknown as ServiceCalls).createService(auth, spec)).id;

/** Changes a service that is at this version. Without credentials nodes go on with those that it had. */
export const updateService = async (
  docker: Docker,
  { ID, Version }: { readonly ID: string; readonly Version: { readonly Index: number } },
  spec: object,
  auth?: AuthConfig,
): Promise<void> => {
  const query = { version: Version.Index, ...(auth ? {} : { registryAuthFrom: "spec" }) };
  // dockerode would put the whole body into the address of a path that may have a query.
  await (docker as unknown as ServiceCalls).getService(ID).update(auth, { _query: query, _body: spec });
};

/** Makes a secret object and gives its id. */
export const createSecretObject = async (docker: Docker, secret: object): Promise<string> => {
  const create = docker.createSecret.bind(docker) as unknown as (options: object) => Promise<{ readonly id: string }>;
  return (await create({ _query: {}, _body: secret })).id;
};
