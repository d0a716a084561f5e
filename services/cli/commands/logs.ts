import { createInterface } from "node:readline";
import { text as readText } from "node:stream/consumers";
import type { Command } from "commander";
import { formatFunctionName, type FunctionName } from "../../../schemas/names.ts";
import { basicAuthorization, explainRefusal, findCredentials } from "../find-credentials.ts";
import { resolveGatewayUrl } from "../gateway-address.ts";
import { errorOfResponse, unreachable } from "../gateway-client.ts";
import { openStream } from "../http-stream.ts";
import { functionOf, type NamespaceOptions, withExample, withJson, withNamespace } from "../options.ts";
import { parseSince, parseWhole } from "../parse-time.ts";
import { printLine, printNote, type Terminal } from "../terminal.ts";

interface LogOptions extends NamespaceOptions {
  readonly json?: boolean;
  readonly follow?: boolean;
  readonly since?: string;
  readonly tail?: string;
  readonly instance?: string;
}

/** One line of GET /system/logs (OpenFaaS contract §1.7). */
interface LogLine {
  readonly instance: string;
  readonly timestamp: string;
  readonly text: string;
}

const printLog = (terminal: Terminal, line: string, json: boolean): void => {
  if (json) return printLine(terminal, line);
  const { timestamp, instance, text } = JSON.parse(line) as LogLine;
  printLine(terminal, `${timestamp} ${instance} ${text.replace(/\n$/, "")}`);
};

const urlOf = (gatewayUrl: string, { name, namespace }: FunctionName, options: LogOptions): URL => {
  const url = new URL(`${gatewayUrl}/system/logs`);
  const { since, tail, instance } = options;
  const query = { name, namespace, since, tail, instance, follow: options.follow ? "true" : undefined };
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, value);
  return url;
};

const readLogs = async (text: string, options: LogOptions, terminal: Terminal): Promise<void> => {
  const name = functionOf(text, options);
  const gatewayUrl = resolveGatewayUrl(options.gateway, terminal.env);
  const credentials = findCredentials(gatewayUrl, terminal.env);
  const refusal = explainRefusal(gatewayUrl, terminal.env);
  const headers = credentials ? [["authorization", basicAuthorization(credentials)] as const] : [];
  const request = { url: urlOf(gatewayUrl, name, options), method: "GET", headers };
  const response = await openStream(request).catch((cause: unknown) => {
    throw unreachable(gatewayUrl, cause);
  });
  const status = response.statusCode ?? 0;
  if (status !== 200) {
    const what = `read the logs of ${formatFunctionName(name)}`;
    throw await errorOfResponse(what, new Response(await readText(response), { status }), refusal);
  }
  for await (const line of createInterface({ input: response }))
    if (line !== "") printLog(terminal, line, options.json === true);
  if (options.follow === true) printNote(terminal, `the log of ${formatFunctionName(name)} has ended: it was removed`);
};

/** Adds `busker logs NAME`. */
export const addLogsCommand = (program: Command, terminal: Terminal): void => {
  const command = program
    .command("logs")
    .description("show what a function wrote to its standard error and output")
    .argument("<name>", "NAME or NAME.NAMESPACE")
    .option("-f, --follow", "go on with new lines until Ctrl-C")
    .option("--since <time>", "from this time on: a duration (5m) or a time in RFC 3339", parseSince)
    .option("--tail <lines>", "only the last lines", parseWhole)
    .option("--instance <replica>", "of one replica only")
    .action((name: string, options: LogOptions) => readLogs(name, options, terminal));
  withExample(withJson(withNamespace(command)), "busker logs slow --follow --since 10m");
};
