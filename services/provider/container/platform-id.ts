import { createHash } from "node:crypto";

/** The label by which everything that a platform makes in an engine is known as its own. */
export const platformLabel = "com.busker.platform";

const idLength = 10;

/** A platform's name in engines that it may share with others: made from the public key of its NATS account. */
export const platformId = (account: string): string =>
  createHash("sha256").update(account).digest("hex").slice(0, idLength);
