import { type Bus, openBus } from "../../bus/connection.ts";
import { type OutcomesConfig, outcomesCredentialsOf } from "./config.ts";

/** Connects as the user `outcomes`, for a service whose own credentials are in `credentialsFile`. */
export const openOutcomesBus = (
  config: OutcomesConfig,
  { natsUrl: url, credentialsFile: own }: { readonly natsUrl: string; readonly credentialsFile: string },
): Promise<Bus> =>
  openBus({ url, credentialsFile: outcomesCredentialsOf(config, own), user: "outcomes", name: "outcomes" });
