import { type Dirent, readdirSync, readlinkSync, realpathSync, existsSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { create } from "tar";
import { BuskerError } from "../../schemas/errors.ts";

// What a version control system or a desktop leaves behind is no part of a function, and would change its hash.
const leftOut: ReadonlySet<string> = new Set([".git", ".hg", ".svn", ".DS_Store"]);

const isInside = (folder: string, path: string): boolean => path === folder || path.startsWith(folder + sep);

const refuse = (file: string, why: string): never => {
  throw new BuskerError("invalid_request", `cannot pack ${file}: ${why}`);
};

const checkLink = (folder: string, path: string): void => {
  const name = relative(folder, path);
  const target = readlinkSync(path);
  const real = existsSync(path) ? realpathSync(path) : resolve(dirname(path), target);
  const inside = isInside(folder, resolve(dirname(path), target)) && isInside(realpathSync(folder), real);
  if (target.startsWith("/") || !inside)
    refuse(name, `a symbolic link must be relative and stay inside the folder; it points to ${target}`);
};

const checkEntry = (folder: string, entry: Dirent, path: string): void => {
  if (entry.isSymbolicLink()) checkLink(folder, path);
  else if (!entry.isFile() && !entry.isDirectory())
    refuse(relative(folder, path), "only files, folders and symbolic links can be packed");
};

const byName = (a: Dirent, b: Dirent): number => (a.name < b.name ? -1 : 1);

const listEntries = (folder: string, at = folder): string[] =>
  readdirSync(at, { withFileTypes: true })
    .filter(({ name }) => !leftOut.has(name))
    .sort(byName)
    .flatMap((entry) => {
      const path = join(at, entry.name);
      checkEntry(folder, entry, path);
      return entry.isDirectory() ? [path, ...listEntries(folder, path)] : [path];
    });

/**
 * Packs a folder as .tar.gz. The same names, contents, links and executable bits give the same bytes, whoever owns the
 * files and whenever they were written. Rejects with `invalid_request` for an empty folder, a link that leaves it, and
 * what is neither file, folder nor link.
 */
export const packFolder = async (path: string): Promise<Buffer> => {
  const folder = resolve(path);
  const entries = listEntries(folder);
  if (entries.length === 0) refuse(path, "the folder is empty");
  const archive = create(
    {
      cwd: folder,
      gzip: true,
      portable: true,
      mtime: new Date(0),
      noDirRecurse: true,
      onWriteEntry: ({ stat }) => {
        if (stat) stat.mode = (stat.mode & ~0o7777) | (stat.isDirectory() || stat.mode & 0o111 ? 0o755 : 0o644);
      },
    },
    // With `./` in front, since tar takes a name that begins with @ for an archive to be joined in.
    entries.map((entry) => `./${relative(folder, entry)}`),
  );
  return archive.concat();
};
