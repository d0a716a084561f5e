import type { JetStreamManager } from "@nats-io/jetstream";
import { createHash } from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import type { Bus } from "./connection.ts";
import { asBusError } from "./jetstream-errors.ts";
import { storeStream } from "./jetstream-subjects.ts";
import { StreamView, type Taken } from "./stream-view.ts";

/** What a store says of an object (ADR-20 of nats-architecture-and-design). */
export interface StoredObject {
  readonly bucket: string;
  readonly name: string;
  /** What its chunks are called. */
  readonly nuid: string;
  readonly size: number;
  /** `SHA-256=` and the digest in URL-safe base64. */
  readonly digest: string;
}

/** The subject of an object's chunks. */
export const chunksSubject = ({ bucket, nuid }: Pick<StoredObject, "bucket" | "nuid">): string =>
  `$O.${bucket}.C.${nuid}`;

// Read ahead of who takes the content.
const aheadBytes = 512 * 1024;

const withoutPadding = (digest: string): string => digest.replace(/=+$/, "");

/** Takes chunks one after the other; what is taken last must make it whole. */
const createCheck = ({ name, size, digest }: StoredObject) => {
  const hash = createHash("sha256");
  let left = size;
  return {
    /** True when that was all of it. Throws `internal`. */
    take: (chunk: Uint8Array): boolean => {
      hash.update(chunk);
      left -= chunk.length;
      if (left > 0) return false;
      if (left === 0 && withoutPadding(digest) === `SHA-256=${hash.digest("base64url")}`) return true;
      throw new BuskerError("internal", `object ${name} is not what was stored: its digest or its length differs`);
    },
  };
};

const tooShort = ({ name, size }: StoredObject): BuskerError =>
  new BuskerError("internal", `object ${name} is not what was stored: it ended short of its ${size} bytes`);

/**
 * An object's content, read at the pace at which it is taken: the library's own stream puts all of a large object into
 * memory where its reader is slow. It errors with `bus_unavailable` when the server goes away in the middle and with
 * `internal` when the content is not what was stored; it never ends short of its size.
 */
export const streamObject = (
  bus: Bus,
  manager: () => Promise<JetStreamManager>,
  object: StoredObject,
): ReadableStream<Uint8Array> => {
  const check = createCheck(object);
  let stop = (): void => {};
  let resume = (): void => {};
  const start = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    if (object.size === 0) return controller.close();
    const take = (chunk: Uint8Array): Taken => {
      try {
        const isLast = check.take(chunk);
        controller.enqueue(chunk);
        return isLast ? "end" : (controller.desiredSize ?? 0) > 0 ? "more" : "hold";
      } catch (error) {
        return error as BuskerError;
      }
    };
    const view = new StreamView({
      bus,
      manager,
      stream: storeStream(object.bucket),
      subject: chunksSubject(object),
      startSeq: 1,
      take,
      onEnd: () => controller.close(),
      onError: (error) => controller.error(error),
      onOver: () => unlisten(),
    });
    const unlisten = bus.onChange((connected) => {
      if (connected) return;
      view.stop();
      controller.error(
        asBusError(`could not read object ${object.name} to its end`, new Error("the server went away")),
      );
    });
    // All of it is there already.
    view.lose(tooShort(object));
    stop = () => view.stop();
    resume = () => view.resume();
  };
  return new ReadableStream<Uint8Array>(
    { start, pull: () => resume(), cancel: () => stop() },
    new ByteLengthQueuingStrategy({ highWaterMark: aheadBytes }),
  );
};
