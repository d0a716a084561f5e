import { posix } from "node:path";

/** What an archive says of one of its entries. */
export interface ArchiveEntry {
  readonly path: string;
  /** As npm's tar calls it: `File`, `Directory`, `SymbolicLink` … */
  readonly type: string;
  readonly linkpath?: string | undefined;
}

const files: readonly string[] = ["File", "OldFile", "ContiguousFile", "Directory", "GNUDumpDir"];

const leaves = (path: string): boolean => {
  const whole = posix.normalize(path);
  return whole === ".." || whole.startsWith("../");
};

/** Why a path may not be written, or nothing. A path with `..` in it is refused even where it would stay inside. */
const checkPath = (path: string): string | undefined => {
  if (path === "" || path.includes("\0")) return "has no usable name";
  if (path.startsWith("/")) return "has an absolute path";
  if (path.split("/").includes("..")) return "has .. in its path";
  return undefined;
};

const checkLink = (path: string, target: string, isSymbolic: boolean): string | undefined => {
  if (target === "" || target.startsWith("/"))
    return `is a link to ${JSON.stringify(target)}, which is no relative path`;
  const from = isSymbolic ? posix.dirname(path) : ".";
  return leaves(posix.join(from, target))
    ? `is a link that leaves the bundle, to ${JSON.stringify(target)}`
    : undefined;
};

/** Why an entry of a bundle must be refused; undefined for one that is fine. */
export const refuseEntry = ({ path, type, linkpath = "" }: ArchiveEntry): string | undefined => {
  const fault = checkPath(path);
  if (fault !== undefined || files.includes(type)) return fault;
  if (type === "SymbolicLink" || type === "Link") return checkLink(path, linkpath, type === "SymbolicLink");
  return `is a ${type}; a bundle holds files, folders and links only`;
};
