import { readFile } from "node:fs/promises";
import { registrySecretAnnotation } from "../../../schemas/annotations.ts";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import type { SecretReader } from "../secret-store.ts";
import { askHelper } from "./credential-helper.ts";
import {
  findInFile,
  findLogin,
  parseDockerConfig,
  type RegistryLogin,
  serverAddress,
  splitPair,
} from "./docker-config.ts";

/** What a registry is asked with. */
export interface RegistryCredentials {
  readonly login?: RegistryLogin;
  /** For whoever is refused by it: where the login is from, or why there is none. Holds nothing of it. */
  readonly from: string;
}

/** Finds the credentials of a function's registry. Throws `invalid_request` for a secret that has none for it. */
export type RegistryAuth = (
  spec: Pick<FunctionSpec, "namespace" | "annotations">,
  registry: string,
) => Promise<RegistryCredentials>;

/** What finding credentials needs. */
export interface RegistryAuthOptions {
  /** A Docker `config.json`; read each time, so that `docker login` takes effect at once. It need not be there. */
  readonly configFile: string;
  readonly secrets: SecretReader;
}

const readSecret = (secrets: SecretReader, namespace: string, name: string): string => {
  try {
    return secrets.read({ namespace, name }).toString("utf8").trim();
  } catch (error) {
    if (!(error instanceof BuskerError && error.code === "secret_not_found")) throw error;
    throw new BuskerError("invalid_request", `annotation ${registrySecretAnnotation}: ${error.message}`);
  }
};

/** Helpers named by a secret are passed over: whoever may write one may not run programs of this machine by that. */
const loginOfSecret = (text: string, name: string, registry: string): RegistryLogin => {
  const refuse = (why: string): BuskerError =>
    new BuskerError("invalid_request", `secret ${name} (annotation ${registrySecretAnnotation}) ${why}`);
  if (!text.startsWith("{")) {
    const pair = splitPair(text);
    if (pair) return { ...pair, serveraddress: serverAddress(registry) };
    throw refuse("must hold user:password or a Docker config.json");
  }
  try {
    const found = findInFile(parseDockerConfig(text), registry);
    if (found.kind === "login") return found.login;
  } catch (error) {
    throw error instanceof BuskerError
      ? refuse(`must hold user:password or a Docker config.json: ${error.message}`)
      : error;
  }
  throw refuse(`has no password or token for ${registry} in its auths`);
};

const fromFile = async (file: string, registry: string): Promise<RegistryCredentials> => {
  const none = (why: string): RegistryCredentials => ({ from: `asked without credentials: ${why}` });
  try {
    const found = findLogin(parseDockerConfig(await readFile(file, "utf8")), registry);
    if (found.kind === "none") return none(`there are none for ${registry} in ${file}`);
    if (found.kind === "login") return { login: found.login, from: `asked with the credentials in ${file}` };
    const answer = await askHelper(found.name, registry);
    return "login" in answer
      ? { login: answer.login, from: `asked with the credentials of docker-credential-${found.name}` }
      : none(answer.why);
  } catch (error) {
    // An image that anybody may have needs none, so this fails nothing by itself.
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return none(isMissing ? `there is no ${file}` : `${file} cannot be read: ${(error as Error).message}`);
  }
};

/** Makes the finder: a function's own secret, or else what the whole platform has. */
export const createRegistryAuth =
  ({ configFile, secrets }: RegistryAuthOptions): RegistryAuth =>
  async ({ namespace, annotations }, registry) => {
    const name = annotations?.[registrySecretAnnotation];
    if (name === undefined) return fromFile(configFile, registry);
    const login = loginOfSecret(readSecret(secrets, namespace, name), name, registry);
    return { login, from: `asked with the credentials in secret ${name}` };
  };
