// Writes schemas/asyncapi.yaml from the code: npm run asyncapi
import { readFileSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";
import { createDocument } from "./document.ts";

/** Where the document stands. */
export const asyncapiFile = new URL("../../schemas/asyncapi.yaml", import.meta.url);

/** The text that the file must have. */
export const renderAsyncapi = (): string => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return stringify(createDocument(version), { aliasDuplicateObjects: false, lineWidth: 0 });
};

if (import.meta.url === `file://${process.argv[1]}`) writeFileSync(asyncapiFile, renderAsyncapi());
