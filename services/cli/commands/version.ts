import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describeError } from "../../runtime/log.ts";
import { type GatewayOptions, openGateway, withExample, withGateway, withJson } from "../options.ts";
import { projectFolder } from "../paths.ts";
import { printJson, printLine, type Terminal } from "../terminal.ts";

/** GET /system/info, as far as it is shown (OpenFaaS contract §1.5). */
interface GatewayInfo {
  readonly provider: { readonly provider: string; readonly orchestration: string };
  readonly version: { readonly release: string; readonly sha: string };
}

/** The version of this command. */
export const ownVersion = (): string =>
  (JSON.parse(readFileSync(join(projectFolder, "package.json"), "utf8")) as { version: string }).version;

const askGateway = async (options: GatewayOptions, terminal: Terminal): Promise<GatewayInfo | string> => {
  try {
    const response = await openGateway(options, terminal).call("ask the version", { path: "/system/info" });
    return (await response.json()) as GatewayInfo;
  } catch (error) {
    return describeError(error);
  }
};

const showVersion = async (options: GatewayOptions & { json?: boolean }, terminal: Terminal): Promise<void> => {
  const client = ownVersion();
  const gateway = await askGateway(options, terminal);
  if (options.json)
    return printJson(terminal, typeof gateway === "string" ? { client, problem: gateway } : { client, gateway });
  printLine(terminal, `client:  ${client}`);
  if (typeof gateway === "string") return printLine(terminal, `gateway: ${gateway}`);
  const { provider, version } = gateway;
  printLine(
    terminal,
    `gateway: ${version.release} (${version.sha}), ${provider.provider} on ${provider.orchestration}`,
  );
};

/** Adds `busker version`: the client's own and, when one answers, the gateway's. */
export const addVersionCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("version")
    .description("show the version of this command and of the gateway")
    .action((options: GatewayOptions & { json?: boolean }) => showVersion(options, terminal));
  withExample(withJson(withGateway(command)), "busker version");
};
