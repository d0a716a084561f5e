import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Command, Option } from "commander";
import { callKinds, listedStates } from "../../../schemas/listed-states.ts";
import { parseFunctionName } from "../../../schemas/names.ts";
import { awaitCall, callPath, openResponse } from "../calls/await-call.ts";
import { bytesOf, isOver, type ShownCall, type ShownStory } from "../calls/call-shapes.ts";
import { type ComparedResponse, compareResponses } from "../calls/compare-responses.ts";
import { followCalls, listCalls, type ListOptions } from "../calls/list-calls.ts";
import { printStory } from "../calls/show-story.ts";
import type { GatewayClient } from "../gateway-client.ts";
import { asUsage, type GatewayOptions, openGateway, withExample, withGateway, withJson } from "../options.ts";
import type { Outcome } from "../outcome.ts";
import { parseSince, parseTimeout, parseWhole } from "../parse-time.ts";
import { printJson, printLine, printNote, type Terminal } from "../terminal.ts";

interface ShowOptions extends GatewayOptions {
  readonly json?: boolean;
}

interface WaitOptions extends GatewayOptions {
  readonly timeout: number;
}

interface ReplayOptions extends ShowOptions, WaitOptions {
  readonly to?: string;
  readonly diff?: boolean;
}

/** Exit codes by what became of a call; 1 is any other failure, too. */
const exitCodes: Readonly<Record<string, number>> = { succeeded: 0, dead: 1, failed: 1, cancelled: 3 };
const notOverExitCode = 4;

const defaultTimeoutMs = 5 * 60_000;

const readStory = async (gateway: GatewayClient, id: string): Promise<ShownStory> => {
  const response = await gateway.call(`show call ${id}`, { path: callPath(id, "/story") });
  return (await response.json()) as ShownStory;
};

const showCall = async (id: string, options: ShowOptions, terminal: Terminal): Promise<void> => {
  const story = await readStory(openGateway(options, terminal), id);
  if (options.json) printJson(terminal, story);
  else printStory(terminal, story);
};

const cancelCall = async (id: string, options: ShowOptions, terminal: Terminal): Promise<void> => {
  await openGateway(options, terminal).call(`cancel call ${id}`, { method: "DELETE", path: callPath(id) });
  if (options.json) printJson(terminal, { id, state: "cancelled" });
  else printLine(terminal, `${id} cancelled`);
};

const noteEnd = ({ id, state, error, response }: ShownCall, terminal: Terminal): void => {
  const why = error ? `: ${error.code}: ${error.message.trim()}` : "";
  // A response that a cancelled call had begun says nothing of its end.
  const status = response && state !== "cancelled" ? ` with status ${response.status}` : "";
  printNote(terminal, `call ${id} is ${state}${status}${why}`);
};

const waitForCall = async (id: string, options: WaitOptions, terminal: Terminal, outcome: Outcome): Promise<void> => {
  const gateway = openGateway(options, terminal);
  const call = await awaitCall(gateway, id, options.timeout);
  if (call.response && isOver(call.state)) {
    const { body } = await openResponse(gateway, id);
    if (body) await pipeline(Readable.fromWeb(body), terminal.stdout, { end: false });
  }
  outcome.exitCode = exitCodes[call.state] ?? notOverExitCode;
  if (outcome.exitCode !== 0) noteEnd(call, terminal);
};

const comparedOf = async (gateway: GatewayClient, { id, state, response }: ShownCall): Promise<ComparedResponse> => {
  if (!response) return { state, headers: {} };
  const { status, headers } = response;
  const here = bytesOf(response);
  if (here) return { state, status, headers, body: here };
  const raw = await openResponse(gateway, id);
  const body = Buffer.from(await raw.arrayBuffer());
  // What is not kept any more is answered with a shorter error.
  return { state, status, headers, body: body.length === response.bytes ? body : undefined };
};

/** Waits for the new call and writes what it answered otherwise than the first one. */
const compare = async (
  gateway: GatewayClient,
  ids: { readonly first: string; readonly again: string },
  { timeout, json }: ReplayOptions,
  terminal: Terminal,
): Promise<number> => {
  // Before the wait: its record may expire meanwhile.
  const { call: first } = await readStory(gateway, ids.first);
  const before = await comparedOf(gateway, first);
  const again = await awaitCall(gateway, ids.again, timeout);
  if (!isOver(again.state)) {
    noteEnd(again, terminal);
    return notOverExitCode;
  }
  const differences = compareResponses(before, await comparedOf(gateway, again));
  if (json) printJson(terminal, { replayOf: ids.first, id: ids.again, state: again.state, differences });
  else if (differences.length === 0) printLine(terminal, `${ids.again} answered the same as ${ids.first}`);
  else for (const line of [`- ${ids.first}`, `+ ${ids.again}`, ...differences]) printLine(terminal, line);
  return differences.length === 0 ? 0 : 1;
};

const replayCall = async (id: string, options: ReplayOptions, terminal: Terminal, outcome: Outcome): Promise<void> => {
  const { to, diff, json } = options;
  if (to !== undefined) asUsage(() => parseFunctionName(to));
  const gateway = openGateway(options, terminal);
  const request = { method: "POST", path: callPath(id, "/replay"), json: to === undefined ? {} : { to } };
  const response = await gateway.call(`replay call ${id}`, request);
  const replayed = (await response.json()) as { id: string };
  if (diff) outcome.exitCode = await compare(gateway, { first: id, again: replayed.id }, options, terminal);
  else if (json) printJson(terminal, replayed);
  else printLine(terminal, replayed.id);
};

const addList = (calls: Command, terminal: Terminal): void => {
  withGateway(calls)
    .option("-f, --function <name>", "only those of NAME or NAME.NAMESPACE")
    .addOption(new Option("--state <state>", "only those in this state").choices(listedStates))
    .addOption(new Option("--kind <kind>", "durable or synchronous ones only").choices(callKinds))
    .option("--since <time>", "changed since then: a duration (5m) or a time in RFC 3339 (default: 1h)", parseSince)
    .option("--until <time>", "as things stood then", parseSince)
    .option("--limit <count>", "at most so many (default: 100)", parseWhole)
    .option("--follow", "go on with every change until Ctrl-C")
    .action((options: ListOptions) => {
      const { function: name } = options;
      if (name !== undefined) asUsage(() => parseFunctionName(name));
      return options.follow ? followCalls(options, terminal) : listCalls(options, terminal);
    });
  withExample(withJson(calls), "busker calls --function resize --state dead --since 1d", "busker calls --follow");
};

const timeoutOption = (): Option =>
  new Option("--timeout <duration>", "wait so long at most").argParser(parseTimeout).default(defaultTimeoutMs, "5m");

/** Adds `busker calls`: what became of calls, durable and synchronous ones. */
export const addCallsCommand = (program: Command, terminal: Terminal, outcome: Outcome): void => {
  const calls = program.command("calls").description("see what became of calls");
  addList(calls, terminal);
  const add = (name: string, description: string): Command =>
    withGateway(calls.command(name).description(description).argument("<id>", "the call id"));
  withExample(
    withJson(add("show", "show all that is known of a call: states, attempts, logs, what came of it")).action(
      (id: string, options: ShowOptions) => showCall(id, options, terminal),
    ),
    "busker calls show 6f1c…",
  );
  withExample(
    withJson(add("cancel", "cancel a durable call that is not over")).action((id: string, options: ShowOptions) =>
      cancelCall(id, options, terminal),
    ),
    "busker calls cancel 6f1c…",
  );
  withExample(
    add(
      "wait",
      "wait for a durable call's end and print its response; exit code 0 succeeded, 1 dead, 3 cancelled, 4 not over",
    )
      .addOption(timeoutOption())
      .action((id: string, options: WaitOptions) => waitForCall(id, options, terminal, outcome)),
    "busker calls wait 6f1c… --timeout 30s",
  );
  withExample(
    withJson(add("replay", "run a call again as a new one; with --diff exit code 1 when the responses differ"))
      .option("--to <name>", "against another function, NAME or NAME.NAMESPACE")
      .option("--diff", "wait for it, and print how its response differs from the first")
      .addOption(timeoutOption())
      .action((id: string, options: ReplayOptions) => replayCall(id, options, terminal, outcome)),
    "busker calls replay 6f1c… --to resize-new --diff",
  );
};
