import { BuskerError } from "./errors.ts";

/** The namespace of a function that names none. */
export const defaultNamespace = "openfaas-fn";

/** What a function's and a namespace's name must look like: a DNS label (RFC 1123), so that a subject token holds no dot. */
export const namePattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** What a replica's, a call's and an inbox's id must look like to be one subject token. */
export const tokenPattern = /^[A-Za-z0-9_-]{1,128}$/;

const nameRule = "1 to 63 characters of a-z, 0-9 and -, beginning and ending with a letter or digit";

/** Gives `value` back when it is a valid name; throws `invalid_request` naming `field` and the rule when not. */
export const checkName = (field: string, value: unknown): string => {
  if (typeof value === "string" && namePattern.test(value)) return value;
  throw new BuskerError("invalid_request", `${field} must be ${nameRule}; got ${JSON.stringify(value)}`);
};

/** Gives `value` back when it can be one token of a subject; throws `invalid_request` when not. */
export const checkToken = (field: string, value: string): string => {
  if (tokenPattern.test(value)) return value;
  throw new BuskerError(
    "invalid_request",
    `${field} must be 1 to 128 characters of A-Z, a-z, 0-9, _ and -; got ${JSON.stringify(value)}`,
  );
};

/** A function and its namespace. */
export interface FunctionName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Splits `name` or `name.namespace` (on the last dot, OpenFaaS contract trap 16). Throws `invalid_request` when a
 * part is not a valid name.
 */
export const parseFunctionName = (text: string): FunctionName => {
  const dot = text.lastIndexOf(".");
  if (dot < 0) return { namespace: defaultNamespace, name: checkName("function name", text) };
  return {
    namespace: checkName("namespace", text.slice(dot + 1)),
    name: checkName("function name", text.slice(0, dot)),
  };
};

/** `name.namespace`: the form of URLs, metric labels and logs, and the key of the bucket `functions`. */
export const formatFunctionName = ({ namespace, name }: FunctionName): string => `${name}.${namespace}`;
