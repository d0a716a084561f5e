import { list, type ReadEntry } from "tar";
import { BuskerError } from "../../schemas/errors.ts";

/** What the command needs to know of a function's archive. */
export interface ArchiveContent {
  /** Paths of all entries, without a leading `./`. */
  readonly paths: readonly string[];
  /** Text of the `function.yaml` at the top, if there is one. */
  readonly functionFile?: string;
}

const fail = (name: string, why: string, cause?: unknown): BuskerError =>
  new BuskerError("invalid_request", `cannot use ${name}: ${why}`, cause === undefined ? {} : { cause });

const checkPath = (name: string, path: string): string => {
  if (path.startsWith("/") || path.split("/").includes(".."))
    throw fail(name, `its entry ${JSON.stringify(path)} leaves the archive's own folder`);
  return path.replace(/^(\.\/)+/, "").replace(/\/$/, "");
};

const readEntries = (bytes: Buffer, onEntry: (entry: ReadEntry) => void): Promise<void> =>
  new Promise((done, failed) => {
    const parser = list({ strict: true, onReadEntry: onEntry });
    parser.on("end", () => done());
    parser.on("error", failed);
    parser.end(bytes);
  });

/** Reads a .tar.gz; rejects with `invalid_request` when it is none, or an entry's path leaves its folder. */
export const readArchive = async (name: string, bytes: Buffer): Promise<ArchiveContent> => {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) throw fail(name, "it must be a .tar.gz archive, and it is not gzip");
  const paths: string[] = [];
  const chunks: Buffer[] = [];
  try {
    await readEntries(bytes, (entry) => {
      const path = checkPath(name, entry.path);
      paths.push(path);
      if (path === "function.yaml") entry.on("data", (chunk) => chunks.push(chunk));
      else entry.resume();
    });
  } catch (error) {
    if (error instanceof BuskerError) throw error;
    throw fail(name, "it is not a whole .tar.gz archive", error);
  }
  if (paths.length === 0) throw fail(name, "the archive is empty");
  const text = Buffer.concat(chunks).toString();
  return { paths, ...(paths.includes("function.yaml") ? { functionFile: text } : {}) };
};
