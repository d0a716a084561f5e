import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import Router from "@koa/router";
import { BuskerError } from "../../schemas/errors.ts";
import { bundlePrefix } from "../../schemas/function.ts";
import type { ObjectStore } from "../bus/objects.ts";

/** A bundle received whole into a file. */
interface Received {
  readonly file: string;
  readonly digest: string;
  readonly size: number;
}

const gzipMagic = [0x1f, 0x8b];

const assertGzip = (firstBytes: Buffer): void => {
  if (gzipMagic.every((byte, at) => firstBytes[at] === byte)) return;
  throw new BuskerError("invalid_request", "a bundle must be a gzip-compressed tar archive (.tar.gz)");
};

// The name is the hash of the content, so the content is received whole before it can be stored under its name.
const receive = async (request: IncomingMessage, folder: string, limit: number): Promise<Received> => {
  const file = join(folder, "bundle.tar.gz");
  const hash = createHash("sha256");
  let size = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      try {
        if (size === 0) assertGzip(chunk);
        size += chunk.length;
        if (size > limit)
          throw new BuskerError(
            "body_too_large",
            `the bundle is larger than ${limit} bytes, the most this gateway takes`,
          );
        hash.update(chunk);
        next(null, chunk);
      } catch (error) {
        next(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
  await pipeline(request, measure, createWriteStream(file, { mode: 0o600 }));
  if (size === 0) throw new BuskerError("invalid_request", "the bundle is empty; send a .tar.gz archive as the body");
  return { file, digest: hash.digest("hex"), size };
};

/** `POST /system/bundles`: keeps a .tar.gz under its content hash and answers 201 `{"image":"bundle:sha256:<hex>","size":N}`. */
export const createBundlesRoute = (store: ObjectStore, maxBytes: number): Router => {
  const router = new Router();
  router.post("/system/bundles", async (context) => {
    const folder = await mkdtemp(join(tmpdir(), "busker-bundle-"));
    try {
      const { file, digest, size } = await receive(context.req, folder, maxBytes);
      if ((await store.size(digest)) !== size)
        await store.put(digest, Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>);
      context.status = 201;
      context.body = { image: `${bundlePrefix}${digest}`, size };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return router;
};
