import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { BuskerError } from "../../schemas/errors.ts";
import type { ObjectStore } from "../bus/objects.ts";

/** Throws `invalid_request` when the store has no such bundle. */
export const assertStored = async (store: ObjectStore, digest: string): Promise<void> => {
  if ((await store.size(digest)) !== undefined) return;
  throw new BuskerError("invalid_request", `there is no bundle sha256:${digest} in the object store; upload it first`);
};

/** Copies a bundle's archive from the object store to a file. Throws `invalid_request` when it is not what it should be. */
export const downloadBundle = async (store: ObjectStore, digest: string, file: string): Promise<void> => {
  const content = await store.get(digest);
  const hash = createHash("sha256");
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      hash.update(chunk);
      next(null, chunk);
    },
  });
  await pipeline(Readable.fromWeb(content as NodeReadableStream), measure, createWriteStream(file, { mode: 0o600 }));
  const found = hash.digest("hex");
  if (found !== digest)
    throw new BuskerError(
      "invalid_request",
      `bundle ${digest} is damaged in the object store: its content has the hash ${found}`,
    );
};
