/** Cuts a byte stream into lines. */
export interface LineSplitter {
  push(chunk: Uint8Array): void;
  /** Gives out what has no line end yet. */
  end(): void;
}

const lineFeed = 10;
const carriageReturn = 13;

/**
 * Gives `emit` each line without its line end, as UTF-8. A line longer than `maxBytes` is given out in pieces, so that
 * a function that never ends its line holds no more than that.
 */
export const createLineSplitter = (maxBytes: number, emit: (line: string) => void): LineSplitter => {
  let held: Buffer[] = [];
  let heldBytes = 0;

  const give = (last: Buffer): void => {
    const line = heldBytes === 0 ? last : Buffer.concat([...held, last]);
    held = [];
    heldBytes = 0;
    const end = line.at(-1) === carriageReturn ? line.length - 1 : line.length;
    emit(line.toString("utf8", 0, end));
  };

  const hold = (rest: Buffer): void => {
    let piece = rest;
    while (heldBytes + piece.length >= maxBytes) {
      const room = maxBytes - heldBytes;
      give(piece.subarray(0, room));
      piece = piece.subarray(room);
    }
    if (piece.length === 0) return;
    held.push(Buffer.from(piece));
    heldBytes += piece.length;
  };

  const line = (bytes: Buffer): void => {
    const room = maxBytes - heldBytes;
    if (bytes.length <= room) return give(bytes);
    hold(bytes);
    if (heldBytes > 0) give(Buffer.alloc(0));
  };

  return {
    push(chunk) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      let from = 0;
      for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, from)) {
        line(bytes.subarray(from, at));
        from = at + 1;
      }
      hold(bytes.subarray(from));
    },
    end() {
      if (heldBytes > 0) give(Buffer.alloc(0));
    },
  };
};
