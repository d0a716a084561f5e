import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as incubating from "@opentelemetry/semantic-conventions/incubating";
import { expect } from "chai";

const known = new Set(Object.values(incubating as Readonly<Record<string, unknown>>).map(String));

// Where spans are described.
const files = [
  "services/runtime/tracing.ts",
  "services/gateway/trace-call.ts",
  "services/gateway/replayer.ts",
  "services/gateway/follow-spans.ts",
  "services/queue-worker/trace-attempt.ts",
  "services/queue-worker/door/open-door.ts",
  "services/queue-worker/outcomes/trace-telling.ts",
  "watchdog/call-trace.ts",
];

describe("attributes of spans", () => {
  for (const file of files)
    it(`have names of OpenTelemetry's semantic conventions, or our own, in ${file}`, () => {
      const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");
      const names = [...text.matchAll(/"([a-z_]+(?:\.[a-z_]+)+)":/g)].map(([, name]) => name ?? "");
      expect(names).not.to.deep.equal([]);
      expect(names.filter((name) => !known.has(name) && !name.startsWith("busker."))).to.deep.equal([]);
    });
});
