import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file without a name that holds the body of one call at a time. */
export interface BodyFile {
  readonly fd: number;
  write(body: Uint8Array): void;
  close(): void;
}

const openIn = (folder: string): number => {
  const own = mkdtempSync(join(folder, "busker-body-"));
  try {
    return openSync(join(own, "body"), "wx+", 0o600);
  } finally {
    // It lives as long as it is open, so nothing is left behind however the watchdog ends.
    rmSync(own, { recursive: true, force: true });
  }
};

const writeAll = (fd: number, body: Uint8Array): void => {
  for (let at = 0; at < body.length;) at += writeSync(fd, body, at, body.length - at, at);
};

/** Opens a body file, in memory where there is such a file system. Throws when no temporary folder can be written. */
export const openBodyFile = (): BodyFile => {
  let fd: number;
  try {
    fd = openIn("/dev/shm");
  } catch {
    fd = openIn(tmpdir());
  }
  return {
    fd,
    write(body) {
      ftruncateSync(fd, 0);
      writeAll(fd, body);
    },
    close: () => closeSync(fd),
  };
};
