import { createHmac, timingSafeEqual } from "node:crypto";
import { BuskerError } from "../../../schemas/errors.ts";
import type { FunctionSpec } from "../../../schemas/function.ts";
import type { ImageConfig } from "../container/image.ts";

/** What a replica was started from. It travels with the replica, so that the provider need not remember old revisions. */
export interface Ticket {
  readonly spec: FunctionSpec;
  readonly revision: string;
  readonly image: ImageConfig;
}

const sign = (key: Buffer, body: string): Buffer => createHmac("sha256", key).update(body).digest();

/** The text of a ticket, signed. */
export const makeTicket = (key: Buffer, { spec, revision, image }: Ticket): string => {
  const { Entrypoint, Cmd, Env, WorkingDir } = image;
  const content: Ticket = { spec, revision, image: { Entrypoint, Cmd, Env, WorkingDir } };
  const body = Buffer.from(JSON.stringify(content)).toString("base64url");
  return `${body}.${sign(key, body).toString("base64url")}`;
};

/** Reads a ticket. Throws `unauthorized` when it was not made with this key. */
export const readTicket = (key: Buffer, text: string): Ticket => {
  const [body = "", tag = ""] = text.split(".");
  const wanted = sign(key, body);
  const given = Buffer.from(tag, "base64url");
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
    throw new BuskerError("unauthorized", "the ticket was not made by this platform's provider");
  return JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as Ticket;
};
