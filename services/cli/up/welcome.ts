import { showPath } from "../local-nats.ts";
import { firstBody, firstFunction } from "./first-function.ts";
import type { Platform } from "./platform.ts";

const quote = (text: string): string => JSON.stringify(text).replace(/\\n/g, "\\n");

/** What a person reads when the platform is up, a line each; `answer` is what the first function has answered. */
export const welcomeLines = (platform: Platform, answer: string | undefined): readonly string[] => {
  const { gatewayUrl, metricsUrl, natsUrl, functions, dataFolder, password, isNew } = platform;
  const data = showPath(dataFolder);
  const url = `${gatewayUrl}/function/${firstFunction}`;
  const hasSample = answer !== undefined;
  return [
    `gateway   ${gatewayUrl}`,
    `metrics   ${metricsUrl}`,
    `NATS      ${natsUrl}`,
    `data      ${data}`,
    `functions ${functions}`,
    ...(isNew
      ? [`user      admin, password ${password} (shown this once; kept in ${data}/secrets/basic-auth-password)`]
      : []),
    "",
    ...(!hasSample ? [] : [`$ printf ${quote(firstBody)} | curl --data-binary @- ${url}`, answer, ""]),
    "Try in another terminal:",
    // Without the sample there is nothing yet that could be called.
    ...(hasSample ? [`  curl --data-binary @README.md ${url}`] : []),
    "  ./scripts/busker deploy dist/samples/markdown",
    "  ./scripts/busker list",
    `  nats --server ${natsUrl} --creds ${data}/creds/invoke.creds request busker.invoke.openfaas-fn.${hasSample ? firstFunction : "markdown"} 'hello bus'`,
    "",
  ];
};
