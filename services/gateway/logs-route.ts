import { PassThrough } from "node:stream";
import Router from "@koa/router";
import { BuskerError } from "../../schemas/errors.ts";
import type { LogLines } from "../../schemas/events.ts";
import { type FunctionName, formatFunctionName } from "../../schemas/names.ts";
import { logFilter } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "../bus/connection.ts";
import { readStream, type StreamMessage } from "../bus/streams.ts";
import { functionOf, queryText } from "./app.ts";
import type { Directory } from "./directory.ts";

/** A request for lines (contract §1.7). */
export interface LogQuery {
  readonly function: FunctionName;
  readonly instance: string | undefined;
  /** Lines from the end; 0: all. */
  readonly tail: number;
  readonly follow: boolean;
  readonly since: Date;
}

// A removed function's replicas finish what is in them; their last lines are told before a following reader's log ends.
const lastLinesMs = 2000;

// What OpenFaaS looks back when nothing is said.
const lookBackMs = 5 * 60_000;

const unreadable = (field: string, value: string): BuskerError =>
  new BuskerError("unprocessable", `could not parse the log request: ${field} ${JSON.stringify(value)}`);

/** Reads the query; throws `unprocessable` (422) naming what cannot be parsed. */
export const readLogQuery = (query: Readonly<Record<string, string | string[] | undefined>>, now: Date): LogQuery => {
  const text = (key: string): string | undefined => queryText(query[key]);
  const since = text("since");
  const sinceDate = since === undefined ? new Date(now.getTime() - lookBackMs) : new Date(since);
  if (Number.isNaN(sinceDate.getTime())) throw unreadable("since", since ?? "");
  const tail = text("tail") ?? "0";
  if (!/^-?\d+$/.test(tail)) throw unreadable("tail", tail);
  const follow = text("follow") ?? "false";
  if (!/^(true|false|1|0)$/.test(follow)) throw unreadable("follow", follow);
  return {
    function: functionOf(text("name"), text("namespace")),
    instance: text("instance"),
    tail: Math.max(0, Number(tail)),
    follow: follow === "true" || follow === "1",
    since: sinceDate,
  };
};

const toLines = (query: LogQuery, message: StreamMessage): string[] => {
  const instance = message.subject.slice(message.subject.lastIndexOf(".") + 1);
  const { lines } = JSON.parse(Buffer.from(message.data).toString("utf8")) as LogLines;
  return lines
    .filter((line) => Date.parse(line.at) >= query.since.getTime())
    .map((line) => {
      const { name, namespace } = query.function;
      const own = line.callId === undefined ? {} : { callId: line.callId };
      return `${JSON.stringify({ name, namespace, instance, timestamp: line.at, text: `${line.text}\n`, ...own })}\n`;
    });
};

/** Writes lines to `output`: those that are there (the last `tail` of them), then, following, those that come. */
const sendLogs = async (bus: Bus, query: LogQuery, output: PassThrough): Promise<() => void> => {
  const { namespace, name } = query.function;
  let held: string[] | undefined = [];
  return readStream(
    bus,
    { stream: streams.LOGS, filter: logFilter(namespace, name, query.instance), since: query.since },
    (message) => {
      // What comes before the reader is stopped came after the end.
      if (held === undefined && !query.follow) return;
      const lines = toLines(query, message);
      if (held === undefined) output.write(lines.join(""));
      else held.push(...lines);
      if (held !== undefined && query.tail > 0 && held.length > query.tail) held = held.slice(-query.tail);
    },
    () => {
      output.write(held?.join("") ?? "");
      held = undefined;
      if (!query.follow) output.end();
    },
  );
};

/** `GET /system/logs`: NDJSON from stream LOGS, so lines outlive the replica that wrote them. */
export const createLogsRoute = (bus: Bus, directory: Directory): Router => {
  const router = new Router();
  router.get("/system/logs", async (context) => {
    const query = readLogQuery(context.query, new Date());
    if (!directory.find(formatFunctionName(query.function)))
      throw new BuskerError("function_not_found", `there is no function ${formatFunctionName(query.function)}`);
    const output = new PassThrough();
    const stop = await sendLogs(bus, query, output);
    const name = formatFunctionName(query.function);
    const unlisten = directory.onRemoved((gone) => {
      if (formatFunctionName(gone) === name) setTimeout(() => directory.find(name) ?? output.end(), lastLinesMs);
    });
    output.on("close", () => {
      stop();
      unlisten();
    });
    context.type = "application/x-ndjson";
    context.body = output;
    // A follower knows that it is connected before the first line comes.
    context.flushHeaders();
  });
  return router;
};
