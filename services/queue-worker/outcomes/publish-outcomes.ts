import type { OutcomeTarget } from "../../../schemas/call.ts";
import { callToken } from "../../../schemas/subjects.ts";
import type { AcknowledgedPublisher } from "../../bus/acknowledged.ts";
import type { WholeRecord } from "../../bus/call-record-wire.ts";
import { outcomeKey, putOutcome } from "../../bus/outcomes.ts";

/**
 * Leaves the outcome of a call to be told, one message for each target; resolves when the stream has them all. May be repeated: the
 * message ids follow from the call and the target. Rejects with `queue_full` or `bus_unavailable`.
 */
export const publishOutcomes = async (
  acknowledged: AcknowledgedPublisher,
  source: string,
  whole: WholeRecord,
  targets: readonly OutcomeTarget[],
): Promise<void> => {
  const id = callToken(whole.record.id);
  await Promise.all(
    targets.map((target) => {
      // Named after the target and not by number: the annotations may have changed between two repeats.
      const messageId = `${id}.outcome.${outcomeKey(whole.record.id, target).slice(0, 12)}`;
      return putOutcome(acknowledged, source, { whole, target, tries: 0, dueMs: 0 }, messageId);
    }),
  );
};
