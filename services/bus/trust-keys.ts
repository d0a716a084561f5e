import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Account, decode, encodeAccount, encodeOperator, type Operator } from "@nats-io/jwt";
import { createAccount, createOperator, type KeyPair } from "@nats-io/nkeys";
import { BuskerError } from "../../schemas/errors.ts";
import { openKeyPair, seedText } from "./key-pair.ts";
import { parseSigner, type Signer } from "./mint.ts";
import { makePrivateFolder, trustFiles, type TrustPaths, writePrivately } from "./trust-files.ts";

const unlimited = -1;

const natsLimits = {
  subs: unlimited,
  data: unlimited,
  payload: unlimited,
  imports: unlimited,
  exports: unlimited,
  wildcards: true,
  conn: unlimited,
  leaf: unlimited,
};

// The server's own ceilings (nats.conf) and each stream's (schemas/topology.ts) are the limits.
const jetStreamLimits = {
  mem_storage: unlimited,
  disk_storage: unlimited,
  streams: unlimited,
  consumer: unlimited,
  max_ack_pending: unlimited,
};

const newPair = (make: () => KeyPair): KeyPair => openKeyPair(seedText(make()));

const accountFile = (paths: TrustPaths, account: string): string => join(paths.accounts, `${account}.jwt`);

/** Makes all keys and JWTs in an empty folder. */
export const makeKeys = async (folder: string): Promise<void> => {
  const paths = trustFiles(folder);
  const [operator, system, account, signing] = [
    newPair(createOperator),
    newPair(createAccount),
    newPair(createAccount),
    newPair(createAccount),
  ];
  const systemName = system.getPublicKey();
  const accountName = account.getPublicKey();
  const busker: Partial<Account> = {
    limits: { ...natsLimits, ...jetStreamLimits },
    signing_keys: [signing.getPublicKey()],
  };
  await makePrivateFolder(paths.accounts);
  const files = [
    [paths.operatorJwt, await encodeOperator("busker", operator, { system_account: systemName })],
    [accountFile(paths, systemName), await encodeAccount("SYS", system, { limits: natsLimits }, { signer: operator })],
    [accountFile(paths, accountName), await encodeAccount("BUSKER", account, busker, { signer: operator })],
    [paths.operatorSeed, seedText(operator)],
    [paths.systemSeed, seedText(system)],
    [paths.accountSeed, seedText(account)],
    [paths.signer, JSON.stringify({ account: accountName, seed: seedText(signing) })],
  ] as const;
  for (const [file, text] of files) await writePrivately(file, text);
};

const readPart = async <T>(file: string, parse: (text: string) => T): Promise<T> => {
  try {
    return parse((await readFile(file, "utf8")).trim());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const advice =
      "put the file back from a backup, or move the folder away to start with new keys (then every creds file is made anew)";
    throw new BuskerError("internal", `could not read the platform's keys from ${file}: ${reason}; ${advice}`, {
      cause,
    });
  }
};

const readSeed = (file: string): Promise<string> => readPart(file, (seed) => openKeyPair(seed).getPublicKey());

const assertBelongs = (holds: boolean, rule: string): void => {
  if (!holds) throw new RangeError(rule);
};

/** Reads the keys back and makes sure that they belong together. Throws `internal` naming the first file that does not. */
export const readKeys = async (paths: TrustPaths): Promise<Signer> => {
  const operator = await readSeed(paths.operatorSeed);
  const system = await readSeed(paths.systemSeed);
  const account = await readSeed(paths.accountSeed);
  await readPart(paths.operatorJwt, (text) => {
    const claims = decode<Operator>(text);
    assertBelongs(claims.sub === operator, "it is not the JWT of operator.seed");
    assertBelongs(claims.nats.system_account === system, "its system account is not that of system.seed");
  });
  const signer = await readPart(paths.signer, parseSigner);
  await readPart(paths.signer, () =>
    assertBelongs(signer.account === account, "its account is not that of account.seed"),
  );
  for (const name of [system, account])
    await readPart(accountFile(paths, name), (text) => {
      const claims = decode<Account>(text);
      assertBelongs(
        claims.sub === name && claims.iss === operator,
        "it is not this account's JWT signed by operator.seed",
      );
      if (name !== account) return;
      assertBelongs(
        claims.nats.signing_keys?.includes(signer.key.getPublicKey()) ?? false,
        "it does not know the key of signer.json",
      );
    });
  return signer;
};
