import type { Environment } from "../runtime/config.ts";

/** How this command was called, for advice that can be copied: a script that starts it says so in BUSKER_COMMAND. */
export const commandName = (env: Environment): string => env["BUSKER_COMMAND"] || "busker";
