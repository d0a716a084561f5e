import type { Stats } from "node:fs";
import { chmod, type FileHandle, lstat, open, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Header, Pax } from "tar";

/** One entry of an archive for an engine; it belongs to root but where it says otherwise. */
export type ArchivePart = { readonly name: string } & (
  | { readonly kind: "folder"; readonly mode: number; readonly modified?: Date; readonly owner?: number }
  | { readonly kind: "link"; readonly target: string }
  /** The content of a file of this machine. */
  | { readonly kind: "file"; readonly mode: number; readonly source: string }
  | { readonly kind: "text"; readonly mode: number; readonly text: string | Buffer }
);

const blockBytes = 512;
const chunkBytes = 256 * 1024;

/** The same for the same content, so that images of it are the same too. */
const ownTime = new Date(0);

const types = { folder: "Directory", link: "SymbolicLink", file: "File", text: "File" } as const;

const encodeHead = (part: ArchivePart, size: number): Buffer => {
  const mode = part.kind === "link" ? 0o777 : part.mode;
  const linkpath = part.kind === "link" ? { linkpath: part.target } : {};
  const { modified = ownTime, owner = 0 } = part.kind === "folder" ? part : {};
  const data = { path: part.name, ...linkpath, mode, size, mtime: modified, uid: owner, gid: owner };
  const header = new Header({ ...data, type: types[part.kind] });
  const block = Buffer.alloc(blockBytes);
  // What does not fit the header goes before it: long names, and such that are not ASCII.
  return header.encode(block)
    ? Buffer.concat([new Pax({ path: data.path, ...linkpath, size }).encode(), block])
    : block;
};

const padding = (bytes: number): Buffer => Buffer.alloc((blockBytes - (bytes % blockBytes)) % blockBytes);

const ownerReads = 0o400;

/** Opens a file for reading, also one that its owner may only execute: for that moment it may be read. */
const openSource = async (path: string): Promise<FileHandle> => {
  const { mode } = await lstat(path);
  // Root reads everything.
  if ((mode & ownerReads) !== 0 || process.getuid?.() === 0) return open(path, "r");
  await chmod(path, mode | ownerReads);
  try {
    return await open(path, "r");
  } finally {
    await chmod(path, mode);
  }
};

async function* readSource(file: FileHandle, path: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  while (left > 0) {
    const chunk = Buffer.allocUnsafe(Math.min(left, chunkBytes));
    const { bytesRead } = await file.read(chunk, 0, chunk.length);
    if (bytesRead === 0) throw new RangeError(`${path} became shorter while it was read`);
    left -= bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

async function* packPart(part: ArchivePart): AsyncGenerator<Buffer> {
  if (part.kind === "folder" || part.kind === "link") return yield encodeHead(part, 0);
  if (part.kind === "text") {
    const content = typeof part.text === "string" ? Buffer.from(part.text) : part.text;
    yield encodeHead(part, content.length);
    yield content;
    return yield padding(content.length);
  }
  const file = await openSource(part.source);
  try {
    const { size } = await file.stat();
    yield encodeHead(part, size);
    yield* readSource(file, part.source, size);
    yield padding(size);
  } finally {
    await file.close();
  }
}

async function* packAll(parts: readonly ArchivePart[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield* packPart(part);
  yield Buffer.alloc(2 * blockBytes);
}

/**
 * A tar archive of these parts, in their order; the stream errors when a source cannot be read. Modes are kept to the bit,
 * which packers made for people's own folders do not do.
 */
export const packArchive = (parts: readonly ArchivePart[]): Readable =>
  Readable.from(packAll(parts), { objectMode: false, highWaterMark: chunkBytes });

const partOf = async (name: string, path: string, stats: Stats): Promise<ArchivePart> => {
  const mode = stats.mode & 0o7777;
  if (stats.isDirectory()) return { kind: "folder", name, mode };
  if (stats.isSymbolicLink()) return { kind: "link", name, target: await readlink(path) };
  if (stats.isFile()) return { kind: "file", name, mode, source: path };
  throw new RangeError(`${path} is neither a file, a folder nor a link`);
};

/** Everything in a folder, folders before what is in them, but not the folder itself. */
export const listFolder = async (folder: string, below = ""): Promise<readonly ArchivePart[]> => {
  const parts: ArchivePart[] = [];
  for (const entry of (await readdir(join(folder, below))).sort()) {
    const name = below === "" ? entry : `${below}/${entry}`;
    const path = join(folder, name);
    const part = await partOf(name, path, await lstat(path));
    parts.push(part);
    if (part.kind === "folder") parts.push(...(await listFolder(folder, name)));
  }
  return parts;
};
