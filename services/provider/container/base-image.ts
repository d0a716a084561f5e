import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type Docker from "dockerode";
import type { ArchivePart } from "./archive.ts";
import { readElfFile } from "./elf.ts";
import { hashFile } from "./hash-file.ts";
import { ensureLocalImage, type LocalImage } from "./local-image.ts";
import { findNodeFiles, type NodeFiles } from "./node-files.ts";
import { shareWork } from "./share-work.ts";

/*
 * The image that bundles run in where nobody has named another, made from this machine's own files, so that a bundle runs
 * on a machine without a registry: Node with its libraries at their own paths, and busybox for a shell and its tools.
 * Nothing is in it that tells of this machine.
 */

/** Where the files come from; a test has others. */
export interface BaseSources {
  readonly node: () => NodeFiles;
  /** Paths to look for a busybox that is linked statically. */
  readonly busybox: readonly string[];
  readonly certificates: string;
}

const machine: BaseSources = {
  node: findNodeFiles,
  busybox: ["/bin/busybox", "/usr/bin/busybox"],
  certificates: "/etc/ssl/certs/ca-certificates.crt",
};

const appId = 12_000;
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const passwd = `root:x:0:0:root:/root:/bin/sh\napp:x:${appId}:${appId}:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n`;
const group = `root:x:0:\napp:x:${appId}:\nnogroup:x:65534:\n`;
// What musl does by itself, glibc must be told: names of the engine's /etc/hosts, then its resolver.
const nameService = "passwd: files\ngroup: files\nhosts: files dns\n";

/** Lines of a Dockerfile: functions run as `app` unless an annotation says otherwise. */
const changes: readonly string[] = [
  `ENV PATH=${searchPath}`,
  "ENV HOME=/home/app",
  "ENV LANG=C.UTF-8",
  "USER app",
  "WORKDIR /function",
];

const file = (path: string, source: string, mode: number): ArchivePart => ({
  kind: "file",
  name: path.slice(1),
  mode,
  source,
});
const text = (name: string, content: string): ArchivePart => ({ kind: "text", name, mode: 0o644, text: content });

/** Node where it is here, because its loader and its own search path look for the libraries where they are. */
const nodeParts = ({ node, libraries }: NodeFiles): readonly ArchivePart[] => {
  const interpreter = readElfFile(node).interpreter ?? "";
  const loader = file(interpreter, realpathSync(interpreter), 0o755);
  const rest = [...libraries].map(([name, path]) => file(join(dirname(path), name), path, 0o644));
  const link: ArchivePart = { kind: "link", name: "usr/local/bin/node", target: node };
  return [loader, file(node, node, 0o755), ...rest, ...(node === `/${link.name}` ? [] : [link])];
};

const isStatic = (path: string): boolean => {
  try {
    const { interpreter, needed } = readElfFile(path);
    return interpreter === undefined && needed.length === 0;
  } catch {
    // Not there, or no program: looked for at the next path.
    return false;
  }
};

const listApplets = async (busybox: string): Promise<readonly string[]> => {
  const { stdout } = await promisify(execFile)(busybox, ["--list-full"]);
  // One without a folder is of use to a system that boots from it only.
  return stdout.split("\n").filter((path) => path.includes("/") && path !== "bin/busybox");
};

const busyboxParts = async (paths: readonly string[]): Promise<readonly ArchivePart[]> => {
  const found = paths.find(isStatic);
  if (found === undefined) return [];
  const links = (await listApplets(found)).map((name): ArchivePart => ({ kind: "link", name, target: "/bin/busybox" }));
  return [file("/bin/busybox", found, 0o755), ...links];
};

const ownFolders: readonly ArchivePart[] = [
  { kind: "folder", name: "tmp", mode: 0o1777 },
  { kind: "folder", name: "var/tmp", mode: 0o1777 },
  { kind: "folder", name: "root", mode: 0o700 },
  { kind: "folder", name: "home/app", mode: 0o755, owner: appId },
  // A file system in memory takes the mode of the folder that it is mounted on (runc 1.1), and a bundle is unpacked there.
  { kind: "folder", name: "function", mode: 0o1777 },
];

const parentsOf = (name: string): readonly string[] => {
  const parent = dirname(name);
  return parent === "." ? [] : [...parentsOf(parent), parent];
};

/** Each part once, the first of a name, with the folders it is in before it. */
const withFolders = (parts: readonly ArchivePart[]): readonly ArchivePart[] => {
  const all = new Map<string, ArchivePart>();
  const given = new Map<string, ArchivePart>();
  for (const part of parts) if (!given.has(part.name)) given.set(part.name, part);
  for (const part of given.values()) {
    for (const name of parentsOf(part.name))
      if (!all.has(name)) all.set(name, given.get(name) ?? { kind: "folder", name, mode: 0o755 });
    all.set(part.name, part);
  }
  return [...all.values()];
};

const hashParts = async (parts: readonly ArchivePart[]): Promise<string> => {
  const hash = createHash("sha256").update(JSON.stringify(changes));
  for (const part of parts)
    hash.update(JSON.stringify(part.kind === "file" ? { ...part, source: await hashFile(part.source) } : part));
  return hash.digest("hex").slice(0, 16);
};

/** All that is in the image. */
export const listBaseParts = async (sources: BaseSources = machine): Promise<readonly ArchivePart[]> => {
  const { busybox, certificates } = sources;
  return withFolders([
    ...ownFolders,
    text("etc/passwd", passwd),
    text("etc/group", group),
    text("etc/nsswitch.conf", nameService),
    ...(existsSync(certificates) ? [file("/etc/ssl/certs/ca-certificates.crt", certificates, 0o644)] : []),
    ...nodeParts(sources.node()),
    ...(await busyboxParts(busybox)),
  ]);
};

const describeBase = async (): Promise<LocalImage> => {
  const parts = await listBaseParts();
  return { name: `busker/base:${await hashParts(parts)}`, changes, parts };
};

/**
 * Gives a function that gives the name of the image that bundles run in: the one that is wished for, which is the
 * caller's to pull, or else one that is made from this machine's files unless the engine has it, named after its content.
 * It is looked for each time, since somebody may have removed it; what is in it is found out once. Throws `internal` when
 * this Node cannot be used, and `start_failed` with the engine's reason.
 */
export const openBaseImage = (docker: Docker, wanted?: string): (() => Promise<string>) => {
  let base: Promise<LocalImage> | undefined;
  const share = shareWork<string>();
  const describe = (): Promise<LocalImage> =>
    (base ??= describeBase().catch((error: unknown) => {
      base = undefined;
      throw error;
    }));
  return async () => {
    if (wanted !== undefined) return wanted;
    return share("base", async () => ensureLocalImage(docker, await describe()));
  };
};

/** `openBaseImage`, asked once. */
export const ensureBaseImage = (docker: Docker, wanted?: string): Promise<string> => openBaseImage(docker, wanted)();
