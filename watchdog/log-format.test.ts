import { expect } from "chai";
import type { LogLine } from "../schemas/events.ts";
import { describeCall, formatLine } from "./log-format.ts";

const known: LogLine = { at: "2026-01-31T23:59:58.123Z", stream: "stderr", text: "hello", callId: "c-1" };
const { callId: _, ...unknown } = known;

const lines: readonly (readonly [boolean, boolean, LogLine, string])[] = [
  [true, false, known, "2026/01/31 23:59:58 stderr: hello"],
  [true, true, known, "2026/01/31 23:59:58 stderr: [c-1] hello"],
  [true, true, unknown, "2026/01/31 23:59:58 stderr: hello"],
  [false, false, { ...known, text: '{"level":"info"}' }, '{"level":"info"}'],
  [false, true, known, "[c-1] hello"],
];

describe("formatLine()", () => {
  for (const [prefixLogs, logCallId, line, expected] of lines)
    it(`gives "${expected}" with prefix_logs=${prefixLogs} and log_callid=${logCallId}`, () =>
      expect(formatLine({ prefixLogs, logCallId }, line)).to.equal(expected));
});

describe("describeCall()", () => {
  const call = { id: "c-1", status: 200, startedMs: 0, durationMs: 12 };
  it("tells status and seconds of a call in mode http with log_callid, because the server's lines name no call", () =>
    expect(describeCall({ logCallId: true, mode: "http" }, call)).to.equal("200 (0.0120s)"));

  it("is silent without log_callid, and in the modes whose lines name their call", () => {
    expect(describeCall({ logCallId: false, mode: "http" }, call)).to.equal(undefined);
    expect(describeCall({ logCallId: true, mode: "streaming" }, call)).to.equal(undefined);
  });
});
