import { relative } from "node:path";
import { firstBody, firstFunction } from "./first-function.ts";
import type { Platform } from "./platform.ts";

const quote = (text: string): string => JSON.stringify(text).replace(/\\n/g, "\\n");

// A path below the current folder is shorter as such, and can be copied all the same.
const show = (path: string): string => {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : short;
};

/** What a person reads when the platform is up, a line each; `answer` is what the first function has answered. */
export const welcomeLines = (platform: Platform, answer: string | undefined): readonly string[] => {
  const { gatewayUrl, metricsUrl, natsUrl, dataFolder, password, isNew } = platform;
  const data = show(dataFolder);
  const url = `${gatewayUrl}/function/${firstFunction}`;
  return [
    `gateway   ${gatewayUrl}`,
    `metrics   ${metricsUrl}`,
    `NATS      ${natsUrl}`,
    `data      ${data}`,
    ...(isNew
      ? [`user      admin, password ${password} (shown this once; kept in ${data}/secrets/basic-auth-password)`]
      : []),
    "",
    ...(answer === undefined ? [] : [`$ printf ${quote(firstBody)} | curl --data-binary @- ${url}`, answer, ""]),
    "Try in another terminal:",
    `  curl --data-binary @README.md ${url}`,
    "  ./scripts/busker deploy dist/samples/markdown",
    "  ./scripts/busker list",
    `  nats --server ${natsUrl} --creds ${data}/creds/invoke.creds request busker.invoke.openfaas-fn.${firstFunction} 'hello bus'`,
    "",
  ];
};
