import type { Bus } from "../../bus/connection.ts";
import { sayOf } from "../../bus/handout.ts";
import type { Settlement } from "../delivery.ts";
import type { Held } from "./held.ts";

/** Says to consumers what became of deliveries. */
export interface Verdicts {
  /** At once, or when the server is back and it still counts. */
  readonly say: (held: Held, settlement: Settlement) => void;
  readonly close: () => void;
}

interface Unsaid {
  readonly held: Held;
  readonly settlement: Settlement;
  readonly sinceMs: number;
}

/**
 * Opens them. While the server is away they are kept: that a call is over counts whenever it is said; that it comes again later
 * only for as long as its lease ran, because after that somebody else may have it in hand.
 */
export const openVerdicts = (bus: Bus, leaseMs: number): Verdicts => {
  let unsaid: Unsaid[] = [];
  const sayLate = ({ held, settlement, sinceMs }: Unsaid): void => {
    const now = Date.now();
    if (settlement.kind === "done") sayOf(bus, held.reply, settlement);
    else if (now - held.renewedMs < leaseMs)
      sayOf(bus, held.reply, { kind: "retry", delayMs: settlement.delayMs - (now - sinceMs) });
  };
  const unlisten = bus.onChange((connected) => {
    if (!connected) return;
    const late = unsaid;
    unsaid = [];
    for (const one of late) sayLate(one);
  });
  return {
    say: (held, settlement) => {
      if (!sayOf(bus, held.reply, settlement)) unsaid.push({ held, settlement, sinceMs: Date.now() });
    },
    close: unlisten,
  };
};
