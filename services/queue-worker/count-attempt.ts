import { errorCatalogue } from "../../schemas/errors.ts";
import type { FunctionName } from "../../schemas/names.ts";
import type { CallerSamples } from "../bus/caller-samples.ts";
import type { Functions } from "./functions.ts";
import type { AttemptResult } from "./run-attempt.ts";

// Its caller went away, as a gateway counts it.
const stoppedStatus = 499;

const statusOf = (result: AttemptResult): number => {
  switch (result.kind) {
    case "answered":
      return result.head.status;
    case "failed":
      return errorCatalogue[result.error.code].status;
    case "stopped":
      return stoppedStatus;
  }
};

/** Makes an attempt, and counts it as a call of this queue-worker. Of a function that is gone nobody asks. */
export const countAttempt = async (
  { functions, samples }: { readonly functions: Pick<Functions, "find">; readonly samples: Pick<CallerSamples, "of"> },
  name: FunctionName,
  attempt: () => Promise<AttemptResult>,
): Promise<AttemptResult> => {
  if (!functions.find(name)) return attempt();
  const counts = samples.of(name);
  const startMs = Date.now();
  counts.started();
  const result = await attempt();
  counts.answered(statusOf(result), (Date.now() - startMs) / 1000);
  return result;
};
