import { countKeptEvent, keptLead, unlimitedCredit } from "../../schemas/invocation.ts";

// The replica is told of a fast client's progress so often that it waits for none, and of a slow one's that it moves.
const tellBytes = keptLead.bytes / 16;
const tellMs = 1000;

/**
 * Grants credit for a kept answer: what it gives is called with the bytes of each event that the client has taken, and
 * with infinity when it takes no more.
 */
export const createKeptCredit = (
  grant: (total: number) => void,
  nowMs: () => number = Date.now,
): ((bytes: number) => void) => {
  let taken = 0;
  let told = 0;
  let toldMs = nowMs();
  return (bytes) => {
    if (taken === Number.POSITIVE_INFINITY) return;
    taken += countKeptEvent(bytes);
    const now = nowMs();
    if (taken - told < tellBytes && now - toldMs < tellMs) return;
    told = taken;
    toldMs = now;
    grant(Math.min(taken + keptLead.bytes, unlimitedCredit));
  };
};
