import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { machine, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type Docker from "dockerode";
import { create } from "tar";

/** One file of an image: a copy, a link, or a text. All are executable. */
export type ImageFile = { readonly from: string } | { readonly link: string } | { readonly text: string };

/** What an image is made of. */
export interface TestImage {
  readonly name: string;
  readonly files: Readonly<Record<string, ImageFile>>;
  /** Lines of a Dockerfile: ENTRYPOINT, CMD, ENV, USER, WORKDIR. */
  readonly changes?: readonly string[];
}

const putFile = async (path: string, file: ImageFile): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  if ("link" in file) return symlink(file.link, path);
  if ("from" in file) await copyFile(file.from, path);
  else await writeFile(path, file.text);
  await chmod(path, 0o755);
};

/** Makes an image from files of this machine: nothing is pulled. */
export const makeImage = async (docker: Docker, { name, files, changes = [] }: TestImage): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-image-"));
  try {
    for (const [path, file] of Object.entries(files)) await putFile(join(folder, "root", path), file);
    const archive = join(folder, "root.tar");
    await create({ cwd: join(folder, "root"), file: archive, portable: true }, ["."]);
    const progress = await docker.importImage(archive, { repo: name, tag: "1", changes });
    await new Promise<void>((done, fail) =>
      docker.modem.followProgress(progress, (error) => (error ? fail(error) : done())),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** Debian's busybox-static: a shell and its tools without a C library. */
export const busyboxFiles: TestImage["files"] = {
  "bin/busybox": { from: "/usr/bin/busybox" },
  ...Object.fromEntries(
    ["sh", "cat", "env", "head", "id", "ls", "ps", "pwd", "sleep", "tr", "wc"].map((name) => [
      `bin/${name}`,
      { link: "busybox" },
    ]),
  ),
};

/** Debian's musl, as the only C library of an image. */
export const muslFiles: TestImage["files"] = {
  [`lib/ld-musl-${machine()}.so.1`]: { from: `/lib/${machine()}-linux-musl/libc.so` },
};

/** Compiles a C program against musl, with the library inside or beside it. */
export const compileWithMusl = async (source: string, target: string, kind: "static" | "dynamic"): Promise<void> => {
  await promisify(execFile)("musl-gcc", ["-Os", ...(kind === "static" ? ["-static"] : []), "-o", target, source]);
};
