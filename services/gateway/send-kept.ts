import type { ServerResponse } from "node:http";
import type { BuskerError } from "../../schemas/errors.ts";
import { type EventPosition, wireHeaders } from "../../schemas/invocation.ts";
import type { FunctionName } from "../../schemas/names.ts";
import type { IncomingBody } from "../bus/body-receiver.ts";
import type { KeptHead } from "../bus/kept-answer.ts";
import type { KeptPlace, KeptReader } from "../bus/kept-reader.ts";
import { sendError } from "./error-reply.ts";
import type { CallHead } from "./http-head.ts";
import { onceGone } from "./once-gone.ts";
import { responseHeaders } from "./send-result.ts";
import { breakOff } from "./send-stream.ts";

/** A client that reads a kept answer. */
export interface Viewer {
  readonly response: ServerResponse;
  /** Its own request. */
  readonly call: CallHead;
  readonly startNs: string;
  readonly reader: KeptReader;
  readonly function: FunctionName;
}

const refuse = ({ response, call, startNs }: Viewer, error: unknown): void => {
  // A client that has gone is told nothing.
  if (!response.destroyed) sendError(response, error, call.callId, startNs);
};

const headersOf = (
  { call, startNs }: Viewer,
  { head, callId }: KeptHead,
  stream: string,
  hasBody: boolean,
): string[] => [
  ...responseHeaders({
    call: { ...call, callId },
    startNs,
    reply: { head, error: undefined },
    keepsLength: false,
    hasBody,
  }),
  wireHeaders.stream,
  stream,
];

/** Writes events as they come, more of them when the client's connection has taken them; `onTaken` is told of each. */
const sendEvents = (viewer: Viewer, place: KeptPlace, onTaken: (bytes: number) => void = () => {}): void => {
  const { response, reader } = viewer;
  if (response.destroyed) return;
  response.writeHead(200, headersOf(viewer, place, place.stream, true));
  response.flushHeaders();
  let unsent = 0;
  let isBroken = false;
  // What is there goes out before the connection breaks: a client comes back only for what it lacks.
  const breakWhenSent = (): void => {
    if (isBroken && unsent === 0) breakOff(response, undefined);
  };
  const view = reader.read(place, {
    onEvent: (data) => {
      unsent += 1;
      return response.write(data, () => {
        unsent -= 1;
        onTaken(data.length);
        breakWhenSent();
      });
    },
    onEnd: () => {
      response.end();
      // Nobody else reads what the client may still be sending: unread, it would keep the connection from its next request.
      response.req.resume();
    },
    onError: () => {
      isBroken = true;
      breakWhenSent();
    },
  });
  response.on("drain", () => view.resume());
  onceGone(response, () => view.stop());
};

/**
 * Answers a client that comes back: what is behind the event that it has. 204 tells it that there is nothing more; an
 * answer that broke off and of which it has all is told as its error, so that it never looks complete.
 */
export const sendKeptFrom = async (viewer: Viewer, position: EventPosition): Promise<void> => {
  const { response, reader } = viewer;
  try {
    const found = await reader.find(viewer.function, position);
    if (found.kind === "open") return sendEvents(viewer, found.place);
    if (response.destroyed) return;
    response.writeHead(204, { "X-Call-Id": found.head.callId, [wireHeaders.stream]: position.stream });
    response.end();
  } catch (error) {
    refuse(viewer, error);
  }
};

/**
 * Answers the client whose call has begun a kept answer. What comes of the call itself, `rest`, is only its end: `end` is
 * called with the status that counts, whether or not the client is still there. While it is, the function gets only so far
 * ahead of it.
 */
export const sendNewKept = async (
  viewer: Viewer,
  stream: string,
  rest: IncomingBody,
  end: (status: number) => void,
): Promise<void> => {
  rest.listen({
    // None is due: a replica that sends some has no use of it.
    onData: () => {},
    onEnd: () => end(200),
    onError: (error: BuskerError) => end(error.status),
  });
  const { response, reader } = viewer;
  const leave = (): void => rest.consumed(Number.POSITIVE_INFINITY);
  if (response.destroyed) return leave();
  response.once("close", leave);
  try {
    const place = await reader.findNew(viewer.function, stream);
    sendEvents(viewer, place, (bytes) => rest.consumed(bytes));
  } catch (error) {
    refuse(viewer, error);
  }
};
