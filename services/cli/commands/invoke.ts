import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Command, InvalidArgumentError } from "commander";
import { BuskerError } from "../../../schemas/errors.ts";
import { formatFunctionName } from "../../../schemas/names.ts";
import { resolveGatewayUrl } from "../gateway-address.ts";
import { unreachable } from "../gateway-client.ts";
import { openStream, type StreamBody } from "../http-stream.ts";
import { functionOf, type NamespaceOptions, urlName, withExample, withNamespace } from "../options.ts";
import type { Outcome } from "../outcome.ts";
import type { Terminal } from "../terminal.ts";

type Pairs = readonly (readonly [string, string])[];

interface InvokeOptions extends NamespaceOptions {
  readonly method: string;
  readonly contentType?: string;
  readonly header?: Pairs;
  readonly query?: Pairs;
  readonly path?: string;
  readonly data?: string;
  readonly async?: true;
}

// Bodies up to this size are sent with their length: the gateway passes those on in one message.
const knownLengthBytes = 1024 * 1024;

const pair =
  (separator: RegExp, rule: string) =>
  (text: string, before: Pairs = []): Pairs => {
    const at = separator.exec(text);
    if (!at || at.index === 0) throw new InvalidArgumentError(rule);
    return [...before, [text.slice(0, at.index), text.slice(at.index + at[0].length)]];
  };

async function* rejoin(first: readonly Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield* first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

const readBody = async (stdin: Readable): Promise<StreamBody> => {
  const chunks: Buffer[] = [];
  const source = (stdin as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let length = 0;
  for (let next = await source.next(); !next.done; next = await source.next()) {
    chunks.push(next.value);
    length += next.value.length;
    if (length > knownLengthBytes) return rejoin(chunks, source);
  }
  return Buffer.concat(chunks);
};

const bodyOf = (options: InvokeOptions, terminal: Terminal): Promise<StreamBody> | StreamBody => {
  if (options.data !== undefined) return Buffer.from(options.data);
  if (terminal.stdin.isTTY) terminal.stderr.write("busker: reading the body from the keyboard; Ctrl-D ends it\n");
  return readBody(terminal.stdin);
};

const urlOf = (text: string, options: InvokeOptions, terminal: Terminal): URL => {
  const gatewayUrl = resolveGatewayUrl(options.gateway, terminal.env);
  const rest = options.path === undefined ? "" : `/${options.path.replace(/^\//, "")}`;
  const route = options.async ? "async-function" : "function";
  const url = new URL(`${gatewayUrl}/${route}/${urlName(functionOf(text, options))}${rest}`);
  for (const [key, value] of options.query ?? []) url.searchParams.append(key, value);
  return url;
};

const headersOf = (options: InvokeOptions, body: StreamBody): Pairs => {
  const known = Buffer.isBuffer(body);
  const empty = known && body.length === 0;
  return [
    ["user-agent", "busker-cli"],
    ...(empty ? [] : [["content-type", options.contentType ?? "text/plain"] as const]),
    ...(known && !(empty && options.method === "GET") ? [["content-length", String(body.length)] as const] : []),
    ...(options.header ?? []),
  ];
};

const brokenOff = (name: string, cause: unknown): BuskerError =>
  new BuskerError(
    "function_unreachable",
    `the answer of ${name} broke off before its end; \`busker logs ${name}\` may say why`,
    { cause },
  );

const invoke = async (text: string, options: InvokeOptions, terminal: Terminal, outcome: Outcome): Promise<void> => {
  const url = urlOf(text, options, terminal);
  const body = await bodyOf(options, terminal);
  const request = { url, method: options.method, headers: headersOf(options, body), body };
  const response = await openStream(request).catch((cause: unknown) => {
    throw unreachable(url.origin, cause);
  });
  const name = formatFunctionName(functionOf(text, options));
  // All that there is to show of a call that is queued is what to ask for it by.
  if (options.async && response.statusCode === 202) terminal.stdout.write(`${String(response.headers["x-call-id"])}\n`);
  await pipeline(response, terminal.stdout, { end: false }).catch((cause: NodeJS.ErrnoException) => {
    throw cause.code === "ECONNRESET" ? brokenOff(name, cause) : cause;
  });
  const { statusCode = 0, statusMessage = "" } = response;
  if (statusCode >= 200 && statusCode < 300) return;
  outcome.exitCode = 1;
  terminal.stderr.write(`busker: ${name} answered ${statusCode} ${statusMessage}\n`);
};

const parseMethod = (text: string): string => {
  if (/^[A-Za-z]+$/.test(text)) return text.toUpperCase();
  throw new InvalidArgumentError("It must be an HTTP method.");
};

/** Adds `busker invoke NAME`: standard input is the body, the answer's body goes to standard output as it comes. */
export const addInvokeCommand = (program: Command, terminal: Terminal, outcome: Outcome): void => {
  const command = program
    .command("invoke")
    .description("call a function with standard input as the body; exit code 1 when it answers other than 2xx")
    .argument("<name>", "NAME or NAME.NAMESPACE")
    .option("-d, --data <text>", "the body, instead of standard input")
    .option("--content-type <type>", "the body's type (default: text/plain)")
    .option("-H, --header <name: value>", "a header; may be given again", pair(/:\s*/, "It must be NAME: VALUE."))
    .option("-m, --method <method>", "the HTTP method", parseMethod, "POST")
    .option("-q, --query <key=value>", "a query parameter; may be given again", pair(/=/, "It must be KEY=VALUE."))
    .option("--async", "call it later: print the call's id as soon as the call is queued")
    .option("--path <path>", "the path below the function's own")
    .action((name: string, options: InvokeOptions) => invoke(name, options, terminal, outcome));
  withExample(
    withNamespace(command),
    "busker invoke wordcount < README.md",
    "busker invoke notes -m GET --path /notes -d ''",
    "busker invoke slow --async -d 5 -H 'X-Delay: 10m'",
  );
};
