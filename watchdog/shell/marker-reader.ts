/** Reads a stream up to a marker that its writer puts behind what belongs to one call. */
export interface MarkerReader {
  /** Takes a chunk; gives the number behind the marker once it has come. What comes after the marker is dropped. */
  push(chunk: Buffer): number | undefined;
}

const lineFeed = 10;

/** How many of the last bytes may be the beginning of a marker that has not come whole. */
const heldBack = (bytes: Buffer, marker: Buffer): number => {
  for (let count = Math.min(bytes.length, marker.length - 1); count > 0; count--)
    if (bytes.compare(marker, 0, count, bytes.length - count) === 0) return count;
  return 0;
};

/** Gives `onData` everything before `<marker> <number>\n`, wherever the pipe has cut it. */
export const createMarkerReader = (marker: Buffer, onData: (data: Buffer) => void): MarkerReader => {
  let held: Buffer | undefined;

  const give = (data: Buffer): void => {
    if (data.length > 0) onData(data);
  };

  return {
    push(chunk) {
      const bytes = held ? Buffer.concat([held, chunk]) : chunk;
      const at = bytes.indexOf(marker);
      const dataEnd = at >= 0 ? at : bytes.length - heldBack(bytes, marker);
      const lineEnd = at < 0 ? -1 : bytes.indexOf(lineFeed, at);
      give(bytes.subarray(0, dataEnd));
      held = dataEnd < bytes.length ? bytes.subarray(dataEnd) : undefined;
      return lineEnd < 0 ? undefined : Number(bytes.toString("latin1", at + marker.length, lineEnd));
    },
  };
};
