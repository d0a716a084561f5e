import { expect } from "chai";
import { modeNames, needsCommand, settingFault, type SettingKey, settingRules } from "./function-environment.ts";

const values: readonly (readonly [SettingKey, string, unknown])[] = [
  ["mode", "pool", "pool"],
  ["mode", "Pool", undefined],
  ["exec_timeout", "0", 0],
  ["exec_timeout", "1m30s", 90_000],
  ["write_timeout", "0s", undefined],
  ["max_inflight", "0", 0],
  ["pool_size", "0", undefined],
  ["log_buffer_size", "-1", -1],
  ["prefix_logs", "FALSE", false],
  ["prefix_logs", "no", undefined],
  ["upstream_url", "https://a", undefined],
  ["ready_path", "/ready", "/ready"],
];

describe("settingRules", () => {
  for (const [key, text, value] of values)
    it(`takes ${key}=${text} as ${String(value)}`, () => expect(settingRules[key].parse(text)).to.equal(value));
});

describe("settingFault()", () => {
  it("names key, rule and value, and nothing where the rule holds, though the value is 0 or false", () => {
    expect(settingFault("pool_size", "none", "envVars.pool_size")).to.equal(
      'envVars.pool_size must be a whole number of at least 1; got "none"',
    );
    expect(settingFault("exec_timeout", "0")).to.equal(undefined);
    expect(settingFault("log_callid", "false")).to.equal(undefined);
  });
});

describe("needsCommand()", () => {
  it("is false only where the watchdog itself is the server", () => {
    expect(modeNames.filter((mode) => !needsCommand(mode))).to.deep.equal(["static", "handler"]);
  });
});
