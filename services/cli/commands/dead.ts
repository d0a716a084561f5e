import type { Command } from "commander";
import { parseFunctionName } from "../../../schemas/names.ts";
import type { ListedLetter, ShownCall } from "../calls/call-shapes.ts";
import { printLetter } from "../calls/show-story.ts";
import type { GatewayClient } from "../gateway-client.ts";
import { asUsage, type GatewayOptions, openGateway, withExample, withGateway, withJson } from "../options.ts";
import type { Outcome } from "../outcome.ts";
import { parseWhole } from "../parse-time.ts";
import { printJson, printLine, printNote, printTable, type Terminal } from "../terminal.ts";
import { usageError } from "../usage-error.ts";

interface DeadOptions extends GatewayOptions {
  readonly function?: string;
  readonly json?: boolean;
}

interface ListOptions extends DeadOptions {
  readonly limit?: string;
}

interface ReplayOptions extends DeadOptions {
  readonly to?: string;
  readonly keep?: boolean;
}

interface Replayed {
  readonly replayed: readonly { readonly replayOf: string; readonly id?: string }[];
  readonly failed: readonly { readonly id: string; readonly code: string; readonly message: string }[];
  readonly more: boolean;
}

const deadPath = (id: string): string => `/system/dead/${encodeURIComponent(id)}`;

const checkNames = (...names: readonly (string | undefined)[]): void => {
  for (const name of names) if (name !== undefined) asUsage(() => parseFunctionName(name));
};

const checkChoice = (ids: readonly string[], { function: name }: DeadOptions): void => {
  if (ids.length > 0 === (name !== undefined))
    throw usageError("either call ids or --function say which dead letters are meant");
};

const errorText = ({ status, error }: ListedLetter): string =>
  error ? `${error.code}: ${error.message.trim().split("\n")[0]}` : `status ${status ?? "-"}`;

const listLetters = async (options: ListOptions, terminal: Terminal): Promise<void> => {
  checkNames(options.function);
  const query = { function: options.function, limit: options.limit };
  const response = await openGateway(options, terminal).call("list dead letters", { path: "/system/dead", query });
  const { letters, more } = (await response.json()) as { letters: readonly ListedLetter[]; more: boolean };
  if (options.json) return printJson(terminal, { letters, more });
  if (letters.length === 0) return printNote(terminal, "no dead letters");
  printTable(
    terminal,
    ["DIED", "ID", "FUNCTION", "ATTEMPTS", "WHY"],
    letters.map((letter) => [letter.at, letter.id, letter.function, String(letter.attempts ?? 0), errorText(letter)]),
  );
  if (more) printNote(terminal, "there are more; --limit and --function show them");
};

const showLetter = async (id: string, options: DeadOptions, terminal: Terminal): Promise<void> => {
  const response = await openGateway(options, terminal).call(`show dead letter ${id}`, { path: deadPath(id) });
  const call = (await response.json()) as ShownCall;
  if (options.json) printJson(terminal, call);
  else printLetter(terminal, call);
};

/** One request after the other while a function has more letters than one request replays. */
const replayAll = async (gateway: GatewayClient, body: object, isRepeated: boolean): Promise<Replayed> => {
  const replayed: Replayed["replayed"][number][] = [];
  const failed: Replayed["failed"][number][] = [];
  for (;;) {
    const request = { method: "POST", path: "/system/dead/replay", json: body };
    const part = (await (await gateway.call("replay dead letters", request)).json()) as Replayed;
    replayed.push(...part.replayed);
    failed.push(...part.failed);
    // Those that failed or are kept would come again, and nothing behind them.
    if (!part.more || !isRepeated || part.failed.length > 0) return { replayed, failed, more: part.more };
  }
};

const replayLetters = async (
  ids: readonly string[],
  options: ReplayOptions,
  terminal: Terminal,
  outcome: Outcome,
): Promise<void> => {
  const { function: name, to, keep = false } = options;
  checkChoice(ids, options);
  checkNames(name, to);
  const which = name === undefined ? { ids } : { function: name };
  const result = await replayAll(openGateway(options, terminal), { ...which, to, keep }, name !== undefined && !keep);
  if (result.failed.length > 0) outcome.exitCode = 1;
  if (options.json) return printJson(terminal, result);
  for (const { replayOf, id } of result.replayed)
    printLine(terminal, id === undefined ? `${replayOf} is told again` : `${replayOf} runs again as ${id}`);
  for (const { id, code, message } of result.failed) printNote(terminal, `${id} not replayed: ${code}: ${message}`);
  if (result.more) printNote(terminal, "there are more");
  if (result.replayed.length + result.failed.length === 0) printNote(terminal, "no dead letters");
};

const purgeLetters = async (ids: readonly string[], options: DeadOptions, terminal: Terminal): Promise<void> => {
  const { function: name } = options;
  checkChoice(ids, options);
  checkNames(name);
  const gateway = openGateway(options, terminal);
  let purged = 0;
  for (const id of ids) {
    await gateway.call(`purge dead letter ${id}`, { method: "DELETE", path: deadPath(id) });
    purged += 1;
  }
  if (name !== undefined) {
    const request = { method: "DELETE", path: "/system/dead", query: { function: name } };
    const response = await gateway.call(`purge dead letters of ${name}`, request);
    ({ purged } = (await response.json()) as { purged: number });
  }
  if (options.json) printJson(terminal, { purged });
  else printLine(terminal, `dead letters purged: ${purged}`);
};

/** Adds `busker dead` with its four subcommands. */
export const addDeadCommand = (program: Command, terminal: Terminal, outcome: Outcome): void => {
  const dead = program.command("dead").description("see, replay and throw away calls that ended dead");
  const add = (name: string, description: string): Command =>
    withJson(withGateway(dead.command(name).description(description)));
  const withFunction = (command: Command, what: string): Command =>
    command.option("-f, --function <name>", `${what} of NAME or NAME.NAMESPACE`);
  withExample(
    withFunction(add("list", "list dead letters, the newest first"), "only those")
      .alias("ls")
      .option("--limit <count>", "at most so many (default: 100)", parseWhole)
      .action((options: ListOptions) => listLetters(options, terminal)),
    "busker dead list --function resize",
  );
  withExample(
    add("show", "show a dead letter: its request, and what the function answered last")
      .argument("<id>", "the call id")
      .action((id: string, options: DeadOptions) => showLetter(id, options, terminal)),
    "busker dead show 6f1c…",
  );
  withExample(
    withFunction(add("replay", "run dead calls again; their letters go when the new calls are accepted"), "all")
      .argument("[ids...]", "call ids")
      .option("--to <name>", "against another function, NAME or NAME.NAMESPACE")
      .option("--keep", "keep the letters")
      .action((ids: string[], options: ReplayOptions) => replayLetters(ids, options, terminal, outcome)),
    "busker dead replay 6f1c…",
    "busker dead replay --function resize --to resize-fixed",
  );
  withExample(
    withFunction(add("purge", "throw dead letters away"), "all")
      .argument("[ids...]", "call ids")
      .action((ids: string[], options: DeadOptions) => purgeLetters(ids, options, terminal)),
    "busker dead purge --function resize",
  );
};
