import { execFile, type ExecFileException } from "node:child_process";
import { type RegistryLogin, serverAddress } from "./docker-config.ts";

/** What a credential helper said: a login, or a phrase of why there is none. */
export type HelperAnswer = { readonly login: RegistryLogin } | { readonly why: string };

const timeoutMs = 30_000;
const maxBuffer = 1024 * 1024;
// What a helper answers as the user name when its secret is a token and no password.
const tokenUser = "<token>";

const readAnswer = (text: string, registry: string): RegistryLogin | undefined => {
  try {
    const { Username, Secret } = JSON.parse(text) as { Username?: unknown; Secret?: unknown };
    if (typeof Username !== "string" || typeof Secret !== "string" || Secret === "") return undefined;
    const serveraddress = serverAddress(registry);
    return Username === tokenUser
      ? { identitytoken: Secret, serveraddress }
      : { username: Username, password: Secret, serveraddress };
  } catch {
    return undefined;
  }
};

const whyNot = (program: string, error: ExecFileException, output: string): string => {
  if (error.code === "ENOENT") return `${program} is not on PATH`;
  if (error.killed) return `${program} did not answer within ${timeoutMs / 1000} s`;
  // Helpers say on their standard output why they have none.
  return `${program} has none: ${output.trim().split("\n")[0] ?? ""}`.replace(/: $/, "");
};

/** Asks `docker-credential-NAME` for the login of a registry. Never rejects. */
export const askHelper = (name: string, registry: string): Promise<HelperAnswer> =>
  new Promise((resolve) => {
    const program = `docker-credential-${name}`;
    const child = execFile(program, ["get"], { timeout: timeoutMs, maxBuffer }, (error, stdout) => {
      if (error) return resolve({ why: whyNot(program, error, stdout) });
      const login = readAnswer(stdout, registry);
      resolve(login ? { login } : { why: `${program} gave no user name and secret` });
    });
    // One that is not there, or has ended, takes nothing: the callback tells of that.
    child.stdin?.on("error", () => {});
    child.stdin?.end(serverAddress(registry));
  });
