import { benchManyFunctions } from "./scaling-many.ts";
import { benchSteps } from "./scaling-steps.ts";
import { benchFirstReplies, benchTrips } from "./scaling-trips.ts";
import { benchSamplingCost } from "./sampling-cost.ts";

/** Prints how replicas follow the load, what becomes of calls meanwhile, and what following costs (issue 6). Some six minutes. */
export const benchScaling = async (quick: boolean): Promise<void> => {
  await benchSteps(quick ? 2 : 10);
  await benchTrips(quick ? 2 : 10);
  await benchFirstReplies(quick ? 10 : 100);
  await benchManyFunctions(quick ? { functions: 100, seconds: 5 } : { functions: 1000, seconds: 20 });
  await benchSamplingCost(quick ? 2 : 12, 2);
};
