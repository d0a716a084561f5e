import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";

// Debian installs it in /usr/sbin, which is not in an ordinary user's PATH.
const usualFolders = ["/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );

/**
 * The path of the nats-server program: `binary` itself when it is a path, else searched for in `searchPath` (a PATH) and
 * the usual folders. Throws `not_found` when there is none.
 */
export const findNatsBinary = async (binary: string, searchPath: string): Promise<string> => {
  const folders = [...searchPath.split(delimiter), ...usualFolders].filter((folder) => folder !== "");
  const candidates = binary.includes("/") ? [binary] : folders.map((folder) => join(folder, binary));
  for (const candidate of candidates) if (await isExecutable(candidate)) return candidate;
  throw new BuskerError(
    "not_found",
    `could not find the program ${binary}: install nats-server 2.9 or newer (apt install nats-server, or https://github.com/nats-io/nats-server/releases)`,
  );
};
