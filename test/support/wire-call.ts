import { headers as createHeaders, type Msg, type NatsConnection } from "nats";
import { invokeSubject } from "../../schemas/subjects.ts";
import { wireHeaders } from "../../schemas/invocation.ts";
import { type Collector, collect } from "./collector.ts";

/** One message of a call, as it came. */
export interface WireFrame {
  /** `head`, `data` … of a frame; `whole` of a reply that is none. */
  readonly kind: string;
  readonly number: number;
  readonly message: Msg;
  readonly error: string | undefined;
}

/** A call by a client that knows NATS and nothing of ours. */
export interface WireCall {
  readonly frames: Collector<WireFrame>;
  /** Where its own frames go, once a replica has said so. */
  readonly inbox: () => string;
  /** Sends a frame to the replica. */
  readonly send: (kind: string, number: number, payload?: string | Uint8Array) => void;
  /** The message that ends it. */
  readonly end: (withinMs?: number) => Promise<WireFrame>;
}

/** Reads what a message says of itself. */
export const readFrame = (message: Msg): WireFrame => {
  const [kind = "whole", number = "0"] = (message.headers?.get(wireHeaders.frame) || undefined)?.split(" ") ?? [];
  return { kind, number: Number(number), message, error: message.headers?.get(wireHeaders.error) || undefined };
};

/** The header block of a frame. */
export const frameHeaders = (kind: string, number: number) => {
  const headers = createHeaders();
  headers.set(wireHeaders.frame, `${kind} ${number}`);
  return headers;
};

/** Calls a function's path; `more` are Busker's own headers, by their keys. */
export const callOverWire = (
  nc: NatsConnection,
  name: string,
  path: string,
  more: Partial<Record<keyof typeof wireHeaders, string>> = {},
): WireCall => {
  const reply = `_INBOX.${Math.random().toString(36).slice(2)}`;
  const frames = collect<WireFrame>();
  nc.subscribe(reply, {
    callback: (error, message) => {
      if (!error) frames.push(readFrame(message));
    },
  });
  const headers = createHeaders();
  headers.set(wireHeaders.http, JSON.stringify({ method: "POST", path, headers: [] }));
  for (const [key, value] of Object.entries(more)) headers.set(wireHeaders[key as keyof typeof wireHeaders], value);
  nc.publish(invokeSubject("openfaas-fn", name), "", { headers, reply });
  const inbox = (): string => {
    const told = frames.all.map(({ message }) => message.headers?.get(wireHeaders.inbox)).find(Boolean);
    if (!told) throw new Error("no replica has named an inbox yet");
    return told;
  };
  const isLast = ({ kind }: WireFrame): boolean => ["whole", "end", "abort"].includes(kind);
  return {
    frames,
    inbox,
    send: (kind, number, payload = "") => nc.publish(inbox(), payload, { headers: frameHeaders(kind, number) }),
    end: async (withinMs) => {
      const all = await frames.until((items) => items.some(isLast), "the call's last message", withinMs);
      const last = all.find(isLast);
      if (!last) throw new Error("it has no last message");
      return last;
    },
  };
};
