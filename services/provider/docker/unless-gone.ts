import { engineStatus } from "../container/engine-error.ts";

/** Lets work fail on a thing that is gone, or is as it should be already; gives whether it was done. */
export const unlessGone = async (work: Promise<unknown>): Promise<boolean> => {
  try {
    await work;
    return true;
  } catch (error) {
    const status = engineStatus(error);
    if (status === 404 || status === 409) return false;
    throw error;
  }
};
