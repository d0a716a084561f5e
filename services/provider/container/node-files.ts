import { existsSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BuskerError } from "../../../schemas/errors.ts";
import { type ElfFile, readElfFile } from "./elf.ts";

/** What Node consists of on this machine. */
export interface NodeFiles {
  readonly node: string;
  readonly loader: string;
  /** glibc's loader and musl's take different arguments. */
  readonly isMusl: boolean;
  /** Paths by the names under which they are looked for. */
  readonly libraries: ReadonlyMap<string, string>;
}

/** What glibc opens by name when it looks a host up (until 2.33; in later ones it is part of the C library). */
const nameServices: readonly string[] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

const fault = (node: string, why: string, cause?: unknown): BuskerError =>
  new BuskerError(
    "internal",
    `cannot make the watchdog's folder from ${node}: ${why}; run the platform with a Node.js that is linked dynamically, as Debian's, Alpine's and nodejs.org's are`,
    cause === undefined ? {} : { cause },
  );

const readFile = (node: string, path: string): ElfFile => {
  try {
    return readElfFile(path);
  } catch (cause) {
    throw fault(node, `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
};

/** Files that a process has loaded, from the text of its /proc/PID/maps. */
export const mappedFiles = (maps: string): readonly string[] => [
  ...new Set(
    maps
      .split("\n")
      .map((line) => /^\S+ ..x. \S+ \S+ \d+\s+(\/.*)$/.exec(line)?.[1])
      .filter((path) => path !== undefined),
  ),
];

/** The libraries that this process has loaded, by file name and by soname. */
const loadedLibraries = (node: string): ReadonlyMap<string, string> => {
  const found = new Map<string, string>();
  for (const path of mappedFiles(readFileSync("/proc/self/maps", "utf8"))) {
    if (path === node || !basename(path).includes(".so")) continue;
    found.set(basename(path), path);
    const { soname } = readFile(node, path);
    if (soname !== undefined) found.set(soname, path);
  }
  return found;
};

/** musl's loader is its C library too, whatever name that is needed by. */
const isLoaderItself = (name: string, loader: string): boolean =>
  basename(loader) === name || (basename(loader).startsWith("ld-musl-") && name.startsWith("libc."));

/**
 * Finds the loader and the libraries of this process' own Node: what the kernel has loaded for it is what it needs, so
 * that no search path has to be followed. Throws `internal` saying why not.
 */
export const findNodeFiles = (node = realpathSync(process.execPath)): NodeFiles => {
  const { interpreter, needed } = readFile(node, node);
  if (interpreter === undefined) throw fault(node, "it is linked statically, or is a loader itself");
  const loaded = loadedLibraries(node);
  const libraries = new Map<string, string>();
  const queue = [...needed];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    if (libraries.has(name) || isLoaderItself(name, interpreter)) continue;
    const path = loaded.get(name);
    if (path === undefined) throw fault(node, `it needs ${name}, which this process has not loaded`);
    libraries.set(name, path);
    queue.push(...readFile(node, path).needed);
  }
  const libc = libraries.get("libc.so.6");
  for (const name of libc === undefined ? [] : nameServices) {
    const path = join(dirname(libc ?? ""), name);
    if (existsSync(path)) libraries.set(name, path);
  }
  return { node, loader: realpathSync(interpreter), isMusl: libc === undefined, libraries };
};
