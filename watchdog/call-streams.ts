import { randomBytes } from "node:crypto";
import { BuskerError } from "../schemas/errors.ts";
import { streamPingMs, unlimitedCredit, wireHeaders } from "../schemas/invocation.ts";
import { callInboxFilter, callInboxSubject } from "../schemas/subjects.ts";
import { BodyReceiver, type IncomingBody } from "../services/bus/body-receiver.ts";
import { BodySender, type BodySink } from "../services/bus/body-sender.ts";
import type { Bus, BusMessage } from "../services/bus/connection.ts";
import { abortError, decodeFrame, encodeFrame, frameLine } from "../services/bus/frames.ts";
import { HeaderBlock, headerStatus, headerText } from "../services/bus/headers.ts";
import { WindowShare } from "../services/bus/window-share.ts";

/** Sends the last frame of an answer, which tells the replica's load and so is not for this module to write. */
export type SendLast = (kind: "end" | "abort", number: number, error: BuskerError | undefined) => void;

/** The replica's side of one streamed call. */
export interface CallStream {
  /** Where the caller's frames go. */
  readonly inbox: string;
  /** The rest of the request's body, `receivedBytes` of which came with it. Grants the first credit. */
  readonly upload: (receivedBytes: number) => IncomingBody;
  /** Where the answer's body goes; `sentBytes` went with its head. */
  readonly answer: (sentBytes: number, creditBytes: number, last: SendLast) => BodySink;
  /**
   * The answer is kept: it goes on when the caller is gone, unless that still owes a part of the request. Its credit goes
   * to `onCredit`, in all; it is unlimited when the caller is gone.
   */
  readonly keep: (onCredit: (total: number) => void) => void;
  /** The call has ended. */
  readonly close: () => void;
}

/** The streamed calls of one replica. */
export interface CallStreams {
  /** Takes the callers' frames, until the function that this gives is called. */
  readonly listen: () => () => void;
  /** `onLost` is called at most once: the caller is gone, or what it sends cannot be trusted. */
  readonly open: (reply: string, onLost: (error: BuskerError) => void) => CallStream;
}

interface OpenStream extends CallStream {
  readonly take: (message: BusMessage) => void;
  readonly ping: () => void;
  readonly lose: (error: BuskerError) => void;
}

const nothing = new Uint8Array();
const callerGone = new BuskerError("cancelled", "the caller of the streamed call is gone");
const busGone = new BuskerError("bus_unavailable", "the connection to the bus broke during the streamed call");

const createStream = (
  bus: Bus,
  windows: WindowShare,
  parts: { inbox: string; reply: string; onLost: (error: BuskerError) => void; onClose: () => void },
): OpenStream => {
  const { inbox, reply } = parts;
  let upload: BodyReceiver | undefined;
  let sender: BodySender | undefined;
  let isOver = false;
  let onKeptCredit: ((total: number) => void) | undefined;
  let hasCaller = true;
  const onCredit = (total: number): void => {
    if (onKeptCredit) onKeptCredit(total);
    else sender?.grant(total);
  };
  windows.take();
  const close = (): void => {
    if (isOver) return;
    isOver = true;
    windows.giveBack();
    parts.onClose();
  };
  const lose = (error: BuskerError): void => {
    if (isOver) return;
    parts.onLost(error);
    upload?.fail(error);
  };
  const loseCaller = (): void => {
    hasCaller = false;
    if (!onKeptCredit || upload?.isOver === false) lose(callerGone);
    else onKeptCredit(unlimitedCredit);
  };
  // The first one also says where the caller's frames go: it may come long before a head.
  const grant = (totalBytes: number): void => {
    if (isOver) return;
    const headers = HeaderBlock.of(`${frameLine("credit", totalBytes)}${wireHeaders.inbox}: ${inbox}\r\n`);
    bus.nc.publish(reply, nothing, { headers });
  };
  return {
    inbox,
    close,
    lose,
    upload: (receivedBytes) => {
      const windowBytes = windows.next();
      const grantedBytes = receivedBytes + windowBytes;
      const mostBytes = (): number => windows.most();
      upload = new BodyReceiver({ receivedBytes, grantedBytes, windowBytes, mostBytes, grant });
      grant(grantedBytes);
      return upload;
    },
    answer: (sentBytes, creditBytes, last) =>
      (sender = new BodySender(
        (kind, number, payload, error) => {
          if (kind === "end" || kind === "abort") last(kind, number, error);
          else bus.nc.publish(reply, payload, { headers: encodeFrame(kind, number) });
        },
        sentBytes,
        creditBytes,
      )),
    keep: (take) => {
      onKeptCredit = take;
    },
    ping: () => {
      if (hasCaller) bus.nc.publish(reply, nothing, { headers: encodeFrame("ping", 0), reply: inbox });
    },
    take: (message) => {
      const headers = headerText(message);
      if (headerStatus(headers) === 503) return loseCaller();
      const frame = decodeFrame(headers);
      if (frame?.kind === "credit") onCredit(frame.number);
      else if (frame?.kind === "abort") lose(abortError(headers, message));
      else if (upload && frame && (frame.kind === "data" || frame.kind === "end")) {
        const fault = frame.kind === "data" ? upload.take(frame.number, message.data) : upload.end(frame.number);
        if (fault) lose(fault);
      } else lose(new BuskerError("invalid_request", "the caller sent a frame that its call has no use for"));
    },
  };
};

/** Creates the streams of one replica; nothing is subscribed before `listen`. */
export const createCallStreams = (
  bus: Bus,
  { namespace, name, replica }: { readonly namespace: string; readonly name: string; readonly replica: string },
): CallStreams => {
  const streams = new Map<string, OpenStream>();
  const windows = new WindowShare();
  let timer: NodeJS.Timeout | undefined;
  const onPing = (): void => {
    for (const stream of streams.values()) stream.ping();
  };
  const forget = (token: string): void => {
    streams.delete(token);
    if (streams.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  bus.onChange((connected) => {
    if (!connected) for (const stream of streams.values()) stream.lose(busGone);
  });
  return {
    listen: () => {
      const subscription = bus.nc.subscribe(callInboxFilter(namespace, name, replica), {
        callback: (error, message) => {
          // One that is not known has ended: its caller is about to learn so.
          if (!error) streams.get(message.subject.slice(message.subject.lastIndexOf(".") + 1))?.take(message);
        },
      });
      return () => subscription.unsubscribe();
    },
    open: (reply, onLost) => {
      // Whoever may call functions may publish here: only who was told this token can speak for this call.
      const token = randomBytes(16).toString("hex");
      const inbox = callInboxSubject(namespace, name, replica, token);
      const stream = createStream(bus, windows, { inbox, reply, onLost, onClose: () => forget(token) });
      streams.set(token, stream);
      timer ??= setInterval(onPing, streamPingMs).unref();
      return stream;
    },
  };
};
