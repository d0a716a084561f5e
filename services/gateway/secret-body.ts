import { BuskerError } from "../../schemas/errors.ts";
import { checkName, defaultNamespace } from "../../schemas/names.ts";
import { checkSecretName, maxSecretBytes, type SecretName } from "../../schemas/secret.ts";

/*
 * What a client sends about a secret: OpenFaaS's Secret (contract §1.5). No error repeats what stands in `value` or
 * `rawValue`, or anything of a body that could not be read.
 */

type Fields = Readonly<Record<string, unknown>>;

const refuse = (message: string): never => {
  throw new BuskerError("invalid_request", message);
};

const isAbsent = (value: unknown): boolean => value === undefined || value === null || value === "";

/** The secret that a body is about. Namespace: the body's, else the query's, else the default (contract trap 17). */
export const readSecretName = (body: Fields, queryNamespace: string | undefined): SecretName => ({
  namespace: checkName(
    "namespace",
    isAbsent(body["namespace"]) ? (queryNamespace ?? defaultNamespace) : body["namespace"],
  ),
  name: checkSecretName("name", body["name"]),
});

const readText = (value: unknown): Buffer => {
  if (typeof value !== "string") return refuse("value must be a string");
  const bytes = Buffer.from(value);
  // A half of a surrogate pair, which JSON can hold and UTF-8 cannot, would be replaced without a word.
  return bytes.toString() === value ? bytes : refuse("value must be text that UTF-8 can hold; use rawValue for bytes");
};

const readBase64 = (value: unknown): Buffer => {
  const bytes = Buffer.from(typeof value === "string" ? value : "", "base64");
  return bytes.toString("base64") === value ? bytes : refuse("rawValue must be base64 with its padding (RFC 4648)");
};

/** The value that a body gives to a secret, as bytes. */
export const readSecretValue = ({ value, rawValue }: Fields): Buffer => {
  if (isAbsent(value) && isAbsent(rawValue))
    return refuse("value (text) or rawValue (base64) must be given and not empty");
  if (!isAbsent(value) && !isAbsent(rawValue)) return refuse("value and rawValue must not both be given");
  const bytes = isAbsent(value) ? readBase64(rawValue) : readText(value);
  return bytes.length <= maxSecretBytes
    ? bytes
    : refuse(
        `${isAbsent(value) ? "rawValue" : "value"} must have at most ${maxSecretBytes} bytes; got ${bytes.length}`,
      );
};
