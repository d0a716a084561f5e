import type { FunctionName } from "../../schemas/names.ts";
import { readSample, type Sample } from "../../schemas/read-sample.ts";
import { metricAnyFilter, parseMetricSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import type { Bus } from "./connection.ts";
import { headerValue } from "./headers.ts";
import { readStream, type StreamPosition } from "./read-stream.ts";

/** One sample and whose it is. */
export interface ReceivedSample {
  readonly function: FunctionName;
  /** A replica's id, `gateway-<id>`, `queue-worker-<id>`. */
  readonly source: string;
  readonly sample: Sample;
}

/** One sample as the stream has it. */
export interface StoredSample extends ReceivedSample {
  readonly position: StreamPosition;
  /** Milliseconds since the epoch: when the stream took it, by the server's clock. */
  readonly atMs: number;
}

/** A message as a sample; undefined when it is none: whatever a function may send there must stop nobody. */
export const toSample = (message: {
  readonly subject: string;
  /** As `headerText()` gives them. */
  readonly headers: string;
  readonly data: Uint8Array;
}): ReceivedSample | undefined => {
  const from = parseMetricSubject(message.subject);
  const type = headerValue(message.headers, "ce-type");
  if (!from || type === undefined) return undefined;
  const { data } = message;
  const sample = readSample(type, Buffer.from(data.buffer, data.byteOffset, data.length).toString("utf8"));
  return sample && { function: { namespace: from.namespace, name: from.name }, source: from.source, sample };
};

/** Whom the reader of samples tells. */
export interface SampleListener {
  readonly onSample: (sample: StoredSample) => void;
  /** Something came that is no sample. */
  readonly onFault: (subject: string) => void;
  /** Called once, when what was there has been told. */
  readonly onCaughtUp: () => void;
}

/**
 * Reads every sample there is after a position, in order and once, and then those that come, over restarts of the server
 * too; of a stream that is another than the position's, all. Gives a function that stops it.
 */
export const readSamples = (bus: Bus, after: StreamPosition, listener: SampleListener): Promise<() => void> =>
  readStream(
    bus,
    { stream: streams.SAMPLES, filter: metricAnyFilter, since: new Date(0), after },
    ({ subject, data, headerText, created, seq, atMs }) => {
      const received = toSample({ subject, data, headers: headerText() });
      if (received) listener.onSample({ ...received, position: { created, seq, storedMs: atMs }, atMs });
      else listener.onFault(subject);
    },
    listener.onCaughtUp,
  );
