import { BuskerError } from "../schemas/errors.ts";

/** A part of a stream of events that stands by itself: an event, or what may come between two. */
export interface EventBlock {
  /** Its lines, each ended by LF, without the `id` and without the blank line at its end. */
  readonly lines: Buffer;
  /** The function's own id that holds from here on; empty when it has given none. */
  readonly ownId: Buffer;
}

/** Cuts a stream of events into blocks. */
export interface EventSplitter {
  /**
   * Gives the blocks that have become complete, each when it is asked for: all are to be asked for before the next chunk.
   * Throws `response_too_large` at an event or an id that is.
   */
  readonly push: (chunk: Uint8Array) => Generator<EventBlock, void, void>;
}

// It is carried on with every event behind it, and comes back in a request's head.
const maxIdBytes = 4096;

const lineFeed = 10;
const carriageReturn = 13;
const colon = 58;
const space = 32;
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);
const noId: Buffer = Buffer.alloc(0);
const endOfLine = Buffer.from("\n");

/** Where the next line ends: at LF, CR LF or CR. */
const findLineEnd = (bytes: Buffer, from: number): number => {
  for (let at = from; at < bytes.length; at += 1) if (bytes[at] === lineFeed || bytes[at] === carriageReturn) return at;
  return -1;
};

/** The value of an `id` field; undefined for any other line. */
const idOf = (line: Buffer): Buffer | undefined => {
  if (line.length < 2 || line[0] !== 105 || line[1] !== 100) return undefined;
  if (line.length === 2) return noId;
  if (line[2] !== colon) return undefined;
  return Buffer.from(line.subarray(line[3] === space ? 4 : 3));
};

/**
 * Cuts a stream of events as the HTML standard parses it (section 9.2.6): lines end in LF, CR LF or CR, an event in a
 * blank line, and what follows the last blank line is none. A comment before an event's first field is a block of its
 * own, so that one that only keeps the connection alive goes out at once.
 */
export const createEventSplitter = (maxBytes: number): EventSplitter => {
  let pieces: Buffer[] = [];
  let pieceBytes = 0;
  let lines: Buffer[] = [];
  let lineBytes = 0;
  let ownId = noId;
  let hasId = false;
  let isFirstLine = true;
  let endedInReturn = false;

  const grow = (bytes: number): void => {
    if (lineBytes + pieceBytes + bytes > maxBytes)
      throw new BuskerError(
        "response_too_large",
        `an event of the function's stream is larger than ${maxBytes} bytes, the most that one may have where streams are kept`,
      );
  };
  const keepPiece = (piece: Buffer): void => {
    grow(piece.length);
    pieceBytes += piece.length;
    pieces.push(Buffer.from(piece));
  };
  const takeLine = (last: Buffer): Buffer => {
    grow(last.length + 1);
    const line = pieces.length === 0 ? Buffer.from(last) : Buffer.concat([...pieces, last]);
    pieces = [];
    pieceBytes = 0;
    if (!isFirstLine) return line;
    isFirstLine = false;
    return line.subarray(0, 3).equals(byteOrderMark) ? line.subarray(3) : line;
  };
  const takeBlock = (): EventBlock => {
    const block = { lines: Buffer.concat(lines), ownId };
    lines = [];
    lineBytes = 0;
    hasId = false;
    return block;
  };
  const addLine = (line: Buffer): EventBlock | undefined => {
    if (line.length === 0) return lines.length > 0 || hasId ? takeBlock() : undefined;
    const id = idOf(line);
    if (id) {
      if (id.length > maxIdBytes)
        throw new BuskerError(
          "response_too_large",
          `an event's id is ${id.length} bytes long, and at most ${maxIdBytes} may be kept`,
        );
      // One that holds a NUL is ignored, as the standard says.
      if (!id.includes(0)) ownId = id;
      hasId = true;
      return undefined;
    }
    const isBetween = line[0] === colon && lines.length === 0 && !hasId;
    lines.push(line, endOfLine);
    lineBytes += line.length + 1;
    return isBetween ? takeBlock() : undefined;
  };

  return {
    *push(chunk) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      let from = endedInReturn && bytes[0] === lineFeed ? 1 : 0;
      if (bytes.length > 0) endedInReturn = false;
      for (let end = findLineEnd(bytes, from); end >= 0; end = findLineEnd(bytes, from)) {
        const block = addLine(takeLine(bytes.subarray(from, end)));
        from = end + 1;
        if (bytes[end] === carriageReturn) {
          if (from === bytes.length) endedInReturn = true;
          else if (bytes[from] === lineFeed) from += 1;
        }
        if (block) yield block;
      }
      if (from < bytes.length) keepPiece(bytes.subarray(from));
    },
  };
};
