/** A line of what an engine tells of a pull. */
export interface PullLine {
  /** The layer, for the states below; the tag or digest for what is said of the image as a whole. */
  readonly id?: string;
  readonly status?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
}

interface Layer {
  readonly isDone: boolean;
  readonly bytes: number;
  readonly total: number;
}

/** How far a pull is: what has been said of each layer. */
export type PullProgress = ReadonlyMap<string, Layer>;

/** Of a pull that has told nothing yet. */
export const noProgress: PullProgress = new Map();

const waiting: Layer = { isDone: false, bytes: 0, total: 0 };

const next = (layer: Layer, { status, progressDetail: { current = 0, total = 0 } = {} }: PullLine) => {
  switch (status ?? "") {
    case "Pulling fs layer":
    case "Waiting":
      return waiting;
    case "Downloading":
      return { ...layer, bytes: current, total: Math.max(total, current) };
    case "Verifying Checksum":
    case "Download complete":
      return { ...layer, bytes: layer.total };
    case "Extracting":
      // Some layers are so small that their download is never told.
      return { ...layer, bytes: Math.max(layer.total, total), total: Math.max(layer.total, total) };
    case "Pull complete":
    case "Already exists":
      return { ...layer, isDone: true, bytes: layer.total };
    default:
      return undefined;
  }
};

/** How far it is after one more line; lines about the whole image change nothing. */
export const noteLine = (progress: PullProgress, line: PullLine): PullProgress => {
  if (line.id === undefined) return progress;
  const layer = next(progress.get(line.id) ?? waiting, line);
  return layer ? new Map([...progress, [line.id, layer]]) : progress;
};

const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

/** A sentence of how far the pull of `image` is. */
export const describeProgress = (image: string, progress: PullProgress): string => {
  const layers = [...progress.values()];
  if (layers.length === 0) return `pulling ${image}`;
  const done = layers.filter(({ isDone }) => isDone).length;
  const sum = (key: "bytes" | "total"): number => megabytes(layers.reduce((all, layer) => all + layer[key], 0));
  const size = sum("total") === 0 ? "" : `, ${sum("bytes")} of ${sum("total")} MB`;
  return `pulling ${image}: ${done} of ${layers.length} layers${size}`;
};
