import type { Container } from "dockerode";
import { constants } from "node:os";
import type { ReplicaExit } from "../backend.ts";
import { engineStatus } from "../container/engine-error.ts";
import { trimOutput } from "../replica-folder.ts";

/** What an engine tells of a container that has ended. */
export interface EndFacts {
  readonly exitCode: number | undefined;
  /** One of its processes was killed for want of memory, and that had to do with its end. */
  readonly outOfMemory: boolean;
  /** Bytes; 0 for none. */
  readonly memoryLimit: number;
  /** The engine's own words; empty when it has none. */
  readonly error: string;
  readonly output: string;
}

const binaryUnits = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"] as const;

/** Bytes in the notation that people write limits in: the largest unit of which it is a whole number. */
export const formatBytes = (bytes: number): string => {
  for (const [at, unit] of binaryUnits.entries()) {
    const size = 1024 ** (binaryUnits.length - at);
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return String(bytes);
};

const signalNames = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals]),
);
// What a shell, and the init of a container, make of an end by a signal.
const signalBase = 128;

const reasonOf = ({ outOfMemory, memoryLimit, error }: EndFacts): string | undefined => {
  if (outOfMemory)
    return memoryLimit > 0
      ? `out of memory: the limit is ${formatBytes(memoryLimit)}`
      : "out of memory: the machine has none left";
  return error === "" ? undefined : error;
};

/** How a replica ended, from what the engine tells. */
export const describeEnd = (facts: EndFacts): Omit<ReplicaExit, "id"> => {
  const { exitCode, output } = facts;
  const signal = exitCode === undefined ? undefined : signalNames.get(exitCode - signalBase);
  const reason = reasonOf(facts);
  return {
    code: signal === undefined ? (exitCode ?? null) : null,
    signal: signal ?? null,
    output,
    ...(reason === undefined ? {} : { reason }),
  };
};

// One frame of a container's output: the stream's number, three bytes of nothing, the length (Docker API, attach).
const headBytes = 8;
const lengthAt = 4;

/** The text in the frames of a container's output; a last frame that is not whole is given as far as it is there. */
export const readFrames = (data: Buffer): string => {
  const parts: Buffer[] = [];
  for (let at = 0; at + headBytes <= data.length;) {
    const end = at + headBytes + data.readUInt32BE(at + lengthAt);
    parts.push(data.subarray(at + headBytes, end));
    at = end;
  }
  return Buffer.concat(parts).toString("utf8");
};

const lastLines = 100;

const readOutput = async (container: Container): Promise<string> => {
  const data = await container.logs({ stdout: true, stderr: true, tail: lastLines });
  return trimOutput(readFrames(data));
};

/**
 * Asks the engine how a container has ended; undefined when it is no longer there. `isRecent` tells whether the memory of
 * which the engine speaks ran out just now, and not in a call long ago.
 */
export const readEnd = async (
  container: Container,
  isRecent: () => boolean,
): Promise<Omit<ReplicaExit, "id"> | undefined> => {
  try {
    const [{ State, HostConfig }, output] = await Promise.all([container.inspect(), readOutput(container)]);
    return describeEnd({
      exitCode: State.ExitCode,
      outOfMemory: State.OOMKilled && State.ExitCode !== 0 && isRecent(),
      memoryLimit: HostConfig.Memory ?? 0,
      error: State.Error,
      output,
    });
  } catch (error) {
    if (engineStatus(error) === 404) return undefined;
    throw error;
  }
};
