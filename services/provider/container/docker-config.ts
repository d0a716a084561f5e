import { BuskerError } from "../../../schemas/errors.ts";

/** What an engine sends to a registry: a password, or a token of it. */
export interface RegistryLogin {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
  readonly serveraddress: string;
}

/** Where a `config.json` says that the credentials of a registry are. */
export type ConfiguredLogin =
  | { readonly kind: "login"; readonly login: RegistryLogin }
  /** The program `docker-credential-NAME` has them. */
  | { readonly kind: "helper"; readonly name: string }
  | { readonly kind: "none" };

type Fields = Readonly<Record<string, unknown>>;

const dockerHub = "docker.io";

/** What credentials of a registry are kept under: for Docker's own, an address of its first days. */
export const serverAddress = (registry: string): string =>
  registry === dockerHub ? "https://index.docker.io/v1/" : registry;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const textOf = (fields: Fields, key: string): string | undefined => {
  const value = fields[key];
  return typeof value === "string" && value !== "" ? value : undefined;
};

const sectionOf = (config: Fields, key: string): Fields => {
  const section = config[key];
  return isFields(section) ? section : {};
};

// Some tools write whole URLs. docker.io goes by several names.
const registryOf = (key: string): string => {
  const host = key.replace(/^https?:\/\//, "").replace(/\/.*$/s, "");
  return host === "index.docker.io" || host === "registry-1.docker.io" ? dockerHub : host;
};

const findEntry = (section: Fields, registry: string): unknown =>
  section[serverAddress(registry)] ??
  section[registry] ??
  Object.entries(section).find(([key]) => registryOf(key) === registry)?.[1];

/** User and password of `user:password`; undefined when it is not of that form. */
export const splitPair = (text: string): { username: string; password: string } | undefined => {
  const colon = text.indexOf(":");
  if (colon <= 0 || colon === text.length - 1) return undefined;
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
};

const pairOf = (entry: Fields): { username?: string; password?: string } => {
  const auth = textOf(entry, "auth");
  // Docker itself pads what it writes with zeros.
  const pair = auth === undefined ? undefined : splitPair(Buffer.from(auth, "base64").toString().replace(/\0+$/, ""));
  const username = textOf(entry, "username") ?? pair?.username;
  const password = textOf(entry, "password") ?? pair?.password;
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
};

/** The login in an entry of `auths`; undefined when it has neither password nor token: Docker leaves such for its stores. */
const readEntry = (entry: unknown, registry: string): RegistryLogin | undefined => {
  if (!isFields(entry)) return undefined;
  const identitytoken = textOf(entry, "identitytoken");
  const registrytoken = textOf(entry, "registrytoken");
  const pair = pairOf(entry);
  if (pair.password === undefined && identitytoken === undefined && registrytoken === undefined) return undefined;
  return {
    ...pair,
    ...(identitytoken === undefined ? {} : { identitytoken }),
    ...(registrytoken === undefined ? {} : { registrytoken }),
    serveraddress: serverAddress(registry),
  };
};

const helperPattern = /^[A-Za-z0-9][\w.-]*$/;

/** Reads a Docker `config.json`. Throws `invalid_request`, without repeating any of it, when it is none. */
export const parseDockerConfig = (text: string): Fields => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own words quote what they met, which may be a password.
  }
  if (isFields(value)) return value;
  throw new BuskerError("invalid_request", "it is not a JSON object");
};

/** Finds the login of a registry, in Docker's order: the registry's own helper, the store of all, the file itself. */
export const findLogin = (config: Fields, registry: string): ConfiguredLogin => {
  const helper = findEntry(sectionOf(config, "credHelpers"), registry);
  const name = typeof helper === "string" ? helper : textOf(config, "credsStore");
  if (name !== undefined && helperPattern.test(name)) return { kind: "helper", name };
  return findInFile(config, registry);
};

/** As `findLogin`, from the file itself only. */
export const findInFile = (config: Fields, registry: string): Exclude<ConfiguredLogin, { kind: "helper" }> => {
  const login = readEntry(findEntry(sectionOf(config, "auths"), registry), registry);
  return login ? { kind: "login", login } : { kind: "none" };
};
