import { parse } from "yaml";
import { BuskerError } from "../../schemas/errors.ts";
import type { ResourceAmounts } from "../../schemas/function.ts";

type Texts = Readonly<Record<string, string>>;

/** What `function.yaml` may say: the keys of one function in an OpenFaaS stack.yaml that still mean something here. */
export interface FunctionSettings {
  readonly fprocess?: string;
  readonly namespace?: string;
  readonly environment?: Texts;
  readonly labels?: Texts;
  readonly annotations?: Texts;
  readonly secrets?: readonly string[];
  readonly constraints?: readonly string[];
  readonly limits?: ResourceAmounts;
  readonly requests?: ResourceAmounts;
  readonly readonly_root_filesystem?: boolean;
}

type Reader = (value: unknown) => unknown;

const isScalar = (value: unknown): boolean => ["string", "number", "boolean"].includes(typeof value);
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const text: Reader = (value) => {
  if (isScalar(value)) return String(value);
  throw new RangeError("must be text");
};

// YAML reads `exec_timeout: 30` as a number and `true` as a boolean; an environment has only text.
const texts: Reader = (value) => {
  if (isRecord(value) && Object.values(value).every(isScalar))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, String(item)]));
  throw new RangeError("must be a map from names to texts");
};

const list: Reader = (value) => {
  if (Array.isArray(value) && value.every(isScalar)) return value.map(String);
  throw new RangeError("must be a list of texts");
};

const flag: Reader = (value) => {
  if (typeof value === "boolean") return value;
  throw new RangeError("must be true or false");
};

const readers: Readonly<Record<keyof FunctionSettings, Reader>> = {
  fprocess: text,
  namespace: text,
  environment: texts,
  labels: texts,
  annotations: texts,
  secrets: list,
  constraints: list,
  limits: texts,
  requests: texts,
  readonly_root_filesystem: flag,
};

const isKnown = (key: string): key is keyof FunctionSettings => Object.hasOwn(readers, key);

const readKey = (key: string, value: unknown): string | readonly [string, unknown] => {
  if (!isKnown(key)) return `${key} is not a key of function.yaml (those are ${Object.keys(readers).join(", ")})`;
  try {
    return [key, readers[key](value)];
  } catch (error) {
    return `${key} ${(error as RangeError).message}; got ${JSON.stringify(value)}`;
  }
};

const parseYaml = (source: string): unknown => {
  try {
    return parse(source) ?? {};
  } catch (error) {
    throw new BuskerError("invalid_request", "cannot read function.yaml: it is not YAML", { cause: error });
  }
};

/** Reads the text of a `function.yaml`; throws `invalid_request` naming every key that breaks a rule. */
export const readFunctionFile = (source: string): FunctionSettings => {
  const value = parseYaml(source);
  if (!isRecord(value))
    throw new BuskerError("invalid_request", "cannot read function.yaml: it must be a map of keys to values");
  const read = Object.entries(value).map(([key, item]) => readKey(key, item));
  const faults = read.filter((one) => typeof one === "string");
  if (faults.length > 0) throw new BuskerError("invalid_request", `cannot read function.yaml: ${faults.join("; ")}`);
  return Object.fromEntries(read.filter((one) => typeof one !== "string")) as FunctionSettings;
};
