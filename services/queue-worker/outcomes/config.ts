import { join } from "node:path";
import { callbackKeyFile } from "../../bus/callback-key.ts";
import { durationField, type Field, integerField, portField, textField } from "../../runtime/config.ts";
import { type AllowList, parseAllowList } from "./allow-list.ts";

/** What telling outcomes is told by the environment. */
export interface OutcomesConfig {
  /** Folder with `secrets/callback-key`. */
  readonly dataFolder: string;
  /** The key that callbacks are signed with; empty: that of the data folder. */
  readonly callbackKeyFile: string;
  /** Credentials of the user `outcomes`; empty: `outcomes.creds` beside the service's own. */
  readonly outcomesCredentialsFile: string;
  /** How long a receiver may take to answer, in milliseconds. */
  readonly callbackTimeoutMs: number;
  /** Tries in all. */
  readonly callbackAttempts: number;
  /** Destinations that may be called although they are not public. */
  readonly callbackAllow: AllowList;
  /** The gateway's port on this machine. */
  readonly gatewayPort: number;
  /** Where functions are called from outside; empty: nowhere else. */
  readonly gatewayUrl: string;
}

const optionalUrlField = (key: string): Field<string> => ({
  key,
  read: (text = "") => {
    if (text === "" || (URL.canParse(text) && /^https?:/i.test(text))) return text;
    throw new RangeError("must be an http or https URL");
  },
});

/** The fields of the service's configuration that are about outcomes. */
export const outcomesFields: { readonly [K in keyof OutcomesConfig]: Field<OutcomesConfig[K]> } = {
  dataFolder: textField("BUSKER_DATA", "./data"),
  callbackKeyFile: textField("BUSKER_CALLBACK_KEY_FILE", ""),
  outcomesCredentialsFile: textField("BUSKER_OUTCOMES_CREDENTIALS", ""),
  callbackTimeoutMs: durationField("BUSKER_CALLBACK_TIMEOUT", 30_000),
  callbackAttempts: integerField("BUSKER_CALLBACK_ATTEMPTS", { min: 1, max: 1000 }, 12),
  callbackAllow: { key: "BUSKER_CALLBACK_ALLOW", read: (text = "") => parseAllowList(text) },
  gatewayPort: portField("BUSKER_PORT", 8080),
  gatewayUrl: optionalUrlField("BUSKER_GATEWAY_URL"),
};

/** The file of the key that callbacks are signed with. */
export const keyFileOf = ({ callbackKeyFile: given, dataFolder }: OutcomesConfig): string =>
  given === "" ? callbackKeyFile(dataFolder) : given;

/** The file of the credentials of the user `outcomes`, for a service whose own are in `credentialsFile`. */
export const outcomesCredentialsOf = (config: OutcomesConfig, credentialsFile: string): string =>
  config.outcomesCredentialsFile === ""
    ? join(credentialsFile, "..", "outcomes.creds")
    : config.outcomesCredentialsFile;
