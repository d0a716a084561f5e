import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";

/** The one administrator. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

const readSecret = async (file: string): Promise<string> => {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (cause) {
    throw new BuskerError("internal", `could not read ${file}; \`busker up\` makes it on its first start`, { cause });
  }
};

/** Reads `basic-auth-user` and `basic-auth-password` from the data folder's secrets. */
export const readCredentials = async (dataFolder: string): Promise<Credentials> => ({
  user: await readSecret(join(dataFolder, "secrets", "basic-auth-user")),
  password: await readSecret(join(dataFolder, "secrets", "basic-auth-password")),
});

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Tells whether an `Authorization` header is the administrator's; takes the same time whatever is wrong with it. */
export const createAuthorizer = ({ user, password }: Credentials): ((header: string | undefined) => boolean) => {
  const expected = digest(`${user}:${password}`);
  return (header) => {
    const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header ?? "")?.[1] ?? "";
    return timingSafeEqual(digest(Buffer.from(encoded, "base64").toString("utf8")), expected);
  };
};
