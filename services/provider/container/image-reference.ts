import { BuskerError } from "../../../schemas/errors.ts";

/** An image as a registry knows it. */
export interface ImageReference {
  /** Host, and port where one is given; `docker.io` when the reference names none. */
  readonly registry: string;
  /** The path there; `library/NAME` for one of Docker's own images. */
  readonly repository: string;
  /** `latest` when the reference has neither tag nor digest; absent with a digest, which decides alone. */
  readonly tag?: string;
  readonly digest?: string;
  /** The whole of it, nothing left to defaults: what engines are asked for. */
  readonly full: string;
}

const defaultRegistry = "docker.io";
// What the credentials of docker.io are kept under, and what some people write.
const oldDefaultRegistry = "index.docker.io";

// github.com/distribution/reference, grammar in reference.go.
const host =
  /^(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])(\.([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]))*|\[[0-9a-f:]+\])(:\d{1,5})?$/i;
const component = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const contentId = /^(sha256:)?[0-9a-f]{64}$/;
const longestName = 255;

const hasOwnRegistry = (first: string): boolean => /[.:[]/.test(first) || first === "localhost";

/** Registry and path of a name without tag and digest. */
const splitName = (name: string): { registry: string; path: string } => {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  if (!hasOwnRegistry(first)) return { registry: defaultRegistry, path: name };
  return { registry: first === oldDefaultRegistry ? defaultRegistry : first, path: name.slice(slash + 1) };
};

/** Name, tag and digest; what is not there is undefined. */
const splitReference = (text: string): { name: string; tag: string | undefined; digest: string | undefined } => {
  const at = text.indexOf("@");
  const tagged = at < 0 ? text : text.slice(0, at);
  const colon = tagged.indexOf(":", tagged.lastIndexOf("/") + 1);
  return {
    name: colon < 0 ? tagged : tagged.slice(0, colon),
    tag: colon < 0 ? undefined : tagged.slice(colon + 1),
    digest: at < 0 ? undefined : text.slice(at + 1),
  };
};

const faultOf = (registry: string, path: string, tag: string | undefined, digest: string | undefined) => {
  if (!host.test(registry)) return "the registry must be a host name, or one with a port";
  if (path === "") return "it has no name";
  if (path !== path.toLowerCase()) return "the name must be in lower case";
  if (!path.split("/").every((part) => component.test(part)))
    return "each part of the name must be letters and digits with single . or _, __ or - between them";
  if (registry.length + 1 + path.length > longestName) return `the name must be at most ${longestName} characters long`;
  if (tag !== undefined && !tagPattern.test(tag))
    return "a tag must be 1 to 128 letters, digits, _, . or -, not beginning with . or -";
  if (digest !== undefined && !digestPattern.test(digest))
    return "a digest must be sha256: and 64 hex digits, or sha512: and 128";
  return undefined;
};

/**
 * Reads `[HOST[:PORT]/]NAME[:TAG][@DIGEST]` as Docker does. Throws `invalid_request` naming the rule that it breaks; a
 * bare content id, which no registry knows, is refused too.
 */
export const parseImageReference = (text: string): ImageReference => {
  const refuse = (rule: string): never => {
    throw new BuskerError("invalid_request", `image ${JSON.stringify(text)} is no image reference: ${rule}`);
  };
  if (contentId.test(text)) return refuse("an image's id names no image of a registry; use its name");
  const { name, tag, digest } = splitReference(text);
  const { registry, path } = splitName(name);
  const fault = faultOf(registry, path, tag, digest);
  if (fault !== undefined) return refuse(fault);
  const repository = registry === defaultRegistry && !path.includes("/") ? `library/${path}` : path;
  if (digest !== undefined) return { registry, repository, digest, full: `${registry}/${repository}@${digest}` };
  const version = tag ?? "latest";
  return { registry, repository, tag: version, full: `${registry}/${repository}:${version}` };
};
