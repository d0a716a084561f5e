import { expect } from "chai";
import { choiceField, durationField, portField, readConfig, textField } from "./config.ts";

const fields = {
  port: portField("PORT", 8080),
  wait: durationField("WAIT", 1000),
  backend: choiceField("BACKEND", ["auto", "process"], "auto"),
  url: textField("URL"),
};

describe("readConfig()", () => {
  it("gives defaults for absent and empty keys", () => {
    expect(readConfig({ URL: "x", PORT: "" }, fields)).to.deep.equal({
      port: 8080,
      wait: 1000,
      backend: "auto",
      url: "x",
    });
  });

  const faults = [
    { env: { URL: "x", PORT: "abc" }, says: ['PORT must be a whole number from 0 to 65535; got "abc"'] },
    { env: { URL: "x", PORT: "70000" }, says: ["PORT must be"] },
    { env: { URL: "x", PORT: "-1" }, says: ["PORT must be"] },
    { env: { URL: "x", WAIT: "soon" }, says: ["WAIT must be whole seconds or a duration"] },
    { env: { URL: "x", BACKEND: "k8s" }, says: ["BACKEND must be one of auto, process"] },
    { env: {}, says: ["URL must be set; got nothing"] },
    { env: { PORT: "x", WAIT: "y" }, says: ["PORT", "WAIT", "URL"] },
  ];
  for (const { env, says } of faults)
    it(`names every fault of ${JSON.stringify(env)}, because a silent fallback hides it`, () => {
      expect(() => readConfig(env, fields))
        .to.throw()
        .with.property("message")
        .that.satisfies((message: string) => says.every((part) => message.includes(part)));
    });

  it("reads durations in Go's notation into milliseconds", () => {
    expect(readConfig({ URL: "x", WAIT: "1m30s" }, fields).wait).to.equal(90_000);
  });
});
