import type { BagItem } from "../../bus/bag.ts";
import type { LaneQueue } from "./lane.ts";

/** A delivery in hand. */
export interface Held extends BagItem {
  readonly queue: LaneQueue;
  readonly callId: string;
  readonly seq: number;
  readonly bytes: number;
  readonly deliveryCount: number;
  /** Where to say what becomes of it: of the newest delivery, when it came again meanwhile. */
  reply: string;
  /** When its lease began, milliseconds since the epoch. */
  renewedMs: number;
  /** The function is left. */
  isReleased: boolean;
  /** What becomes of it was said, or is not ours to say any more. */
  isSettled: boolean;
}
