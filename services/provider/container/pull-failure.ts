import { BuskerError, type ErrorCode } from "../../../schemas/errors.ts";
import { engineReason, engineStatus, isEngineAway } from "./engine-error.ts";
import type { RegistryCredentials } from "./registry-auth.ts";

/** A pull that failed: of what, as the deployer wrote it, and how it was asked for. */
export interface FailedPull {
  readonly image: string;
  /** The reference as the engine was given it. */
  readonly full: string;
  readonly credentials: RegistryCredentials;
  readonly error: unknown;
}

const refusals = /(?<!permission )denied|unauthorized|forbidden|authenticat|basic auth|credential/i;
const mistakes =
  /manifest unknown|name unknown|not found|not exist|no matching manifest|invalid reference|unsupported|no such image/i;
const away =
  /no such host|lookup|refused|reset|timeout|timed out|deadline|unreachable|no route|tls|x509|certificate|server gave http|eof|too ?many ?requests|bad gateway|unavailable|\b5\d\d\b|server error|misbehaving|proxyconnect/i;

/** The words without names and addresses, which may hold anything. */
const bareWords = (reason: string, full: string): string => {
  const name = full.replace(/(@|:[^/]*$).*$/, "");
  return reason
    .replace(/"[^"]*"|https?:\/\/\S+/g, "")
    .replaceAll(full, "")
    .replaceAll(name, "");
};

const codeOf = (reason: string, status: number | undefined): ErrorCode => {
  if (status === 400 || status === 403 || status === 404) return "invalid_request";
  if (/too ?many ?requests/i.test(reason)) return "registry_unavailable";
  if (refusals.test(reason) || mistakes.test(reason)) return "invalid_request";
  return away.test(reason) ? "registry_unavailable" : "start_failed";
};

/** Takes out a password that a registry has repeated in its answer. */
const withoutSecrets = (reason: string, { login }: RegistryCredentials): string =>
  [login?.password, login?.identitytoken, login?.registrytoken]
    .filter((secret) => secret !== undefined)
    .reduce((text, secret) => text.replaceAll(secret, "…"), reason);

/**
 * The error of a pull, with the engine's reason: `invalid_request` for what the deployer can put right,
 * `registry_unavailable` for a registry that does not answer, `provider_unavailable` for an engine that does not, and
 * `start_failed` for the rest, such as a full disk.
 */
export const pullFailure = ({ image, full, credentials, error }: FailedPull): BuskerError => {
  if (error instanceof BuskerError) return error;
  const reason = withoutSecrets(engineReason(error), credentials);
  if (isEngineAway(error))
    return new BuskerError(
      "provider_unavailable",
      `could not pull image ${image}: the container engine does not answer: ${reason}`,
    );
  const bare = bareWords(reason, full);
  const from = refusals.test(bare) ? ` (${credentials.from})` : "";
  return new BuskerError(codeOf(bare, engineStatus(error)), `could not pull image ${image}: ${reason}${from}`);
};
