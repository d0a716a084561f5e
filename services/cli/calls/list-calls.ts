import { text as readText } from "node:stream/consumers";
import { BuskerError } from "../../../schemas/errors.ts";
import { basicAuthorization, explainRefusal, findCredentials } from "../find-credentials.ts";
import { resolveGatewayUrl } from "../gateway-address.ts";
import { errorOfResponse, unreachable } from "../gateway-client.ts";
import { openStream } from "../http-stream.ts";
import { type GatewayOptions, openGateway } from "../options.ts";
import { printJson, printLine, printNote, printTable, type Terminal } from "../terminal.ts";
import type { ListedCall } from "./call-shapes.ts";
import { readEvents } from "./read-events.ts";
import { formatSeconds } from "./show-story.ts";

/** Which calls are listed, and how. */
export interface ListOptions extends GatewayOptions {
  readonly function?: string;
  readonly state?: string;
  readonly kind?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
}

const queryOf = ({ function: name, state, kind, since, until, limit }: ListOptions) => ({
  function: name,
  state,
  kind,
  since,
  until,
  limit,
});

const row = ({ at, id, function: name, kind, state, attempts, status, durationSeconds }: ListedCall): string[] => [
  at,
  id,
  name,
  kind,
  state,
  String(attempts),
  status === undefined ? "-" : String(status),
  durationSeconds === undefined ? "-" : formatSeconds(durationSeconds),
];

/** Lists calls, the one that changed last first. */
export const listCalls = async (options: ListOptions, terminal: Terminal): Promise<void> => {
  const request = { path: "/system/calls", query: queryOf(options) };
  const response = await openGateway(options, terminal).call("list calls", request);
  const list = (await response.json()) as { calls: readonly ListedCall[]; more: boolean; since: string };
  if (options.json) return printJson(terminal, list);
  if (list.calls.length === 0) printNote(terminal, `no such calls since ${list.since}`);
  else
    printTable(
      terminal,
      ["CHANGED", "ID", "FUNCTION", "KIND", "STATE", "ATTEMPTS", "STATUS", "TOOK"],
      list.calls.map(row),
    );
  if (list.more) printNote(terminal, `there are more before ${list.since}; --limit, --function or --state find them`);
};

const printChange = (terminal: Terminal, call: ListedCall): void => {
  const error = call.error ? [`${call.error.code}: ${call.error.message.trim()}`] : [];
  printLine(terminal, [...row(call), ...error].filter((cell) => cell !== "-").join("  "));
};

/** Opens the stream of changes, behind an event that was had already. */
const openChanges = async (options: ListOptions, terminal: Terminal, lastEventId: string | undefined) => {
  const gatewayUrl = resolveGatewayUrl(options.gateway, terminal.env);
  const credentials = findCredentials(gatewayUrl, terminal.env);
  const url = new URL(`${gatewayUrl}/system/calls`);
  for (const [key, value] of Object.entries(queryOf(options)))
    if (value !== undefined) url.searchParams.set(key, value);
  const headers = [
    ["accept", "text/event-stream"] as const,
    ...(credentials ? [["authorization", basicAuthorization(credentials)] as const] : []),
    ...(lastEventId === undefined ? [] : [["last-event-id", lastEventId] as const]),
  ];
  const response = await openStream({ url, method: "GET", headers }).catch((cause: unknown) => {
    throw unreachable(gatewayUrl, cause);
  });
  const status = response.statusCode ?? 0;
  if (status === 200) return response;
  const refusal = explainRefusal(gatewayUrl, terminal.env);
  throw await errorOfResponse("follow calls", new Response(await readText(response), { status }), refusal);
};

/** Writes changes of calls as they come. Goes on behind the last one when its connection breaks, while the gateway is there. */
export const followCalls = async (options: ListOptions, terminal: Terminal): Promise<void> => {
  let lastEventId: string | undefined;
  for (;;) {
    const response = await openChanges(options, terminal, lastEventId);
    try {
      for await (const { id, event, data } of readEvents(response)) {
        lastEventId = id ?? lastEventId;
        if (event !== "call") continue;
        if (options.json) printLine(terminal, data);
        else printChange(terminal, JSON.parse(data) as ListedCall);
      }
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "ECONNRESET")) throw cause;
    }
    if (lastEventId === undefined)
      throw new BuskerError("bus_unavailable", "the gateway ended the stream of changes before it began");
    printNote(terminal, "the connection was lost; going on where it was");
  }
};
