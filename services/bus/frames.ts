import type { Msg, MsgHdrs } from "nats";
import type { ErrorCode } from "../../schemas/errors.ts";
import { BuskerError, isErrorCode } from "../../schemas/errors.ts";
import { type FrameKind, frameKinds, wireHeaders } from "../../schemas/invocation.ts";
import { HeaderBlock, headerValue } from "./headers.ts";

/** A frame's kind and number. */
export interface Frame {
  readonly kind: FrameKind;
  readonly number: number;
}

const mark = `\r\n${wireHeaders.frame}:`;

/** Tells whether a message is a part of a streamed body, by its header block. */
export const isFrame = (headers: string): boolean => headers.includes(mark);

/** The header line of a frame. */
export const frameLine = (kind: FrameKind, number: number): string => `${wireHeaders.frame}: ${kind} ${number}\r\n`;

/** The header block of a frame that says nothing else, or with an error also why. */
export const encodeFrame = (kind: FrameKind, number: number, error?: ErrorCode): MsgHdrs =>
  HeaderBlock.of(frameLine(kind, number) + (error === undefined ? "" : `${wireHeaders.error}: ${error}\r\n`));

/** Reads a frame's kind and number; undefined when they are none that this version knows. */
export const decodeFrame = (headers: string): Frame | undefined => {
  const match = /^([a-z]+) (\d{1,16})$/.exec(headerValue(headers, wireHeaders.frame) ?? "");
  const kind = frameKinds.find((candidate) => candidate === match?.[1]);
  return kind && { kind, number: Number(match?.[2]) };
};

/** The error that an `abort` frame brings. */
export const abortError = (headers: string, message: Pick<Msg, "data">): BuskerError => {
  const code = headerValue(headers, wireHeaders.error) ?? "";
  const text = Buffer.from(message.data).toString("utf8").trim();
  return new BuskerError(isErrorCode(code) ? code : "internal", text === "" ? "the other side gave the body up" : text);
};
