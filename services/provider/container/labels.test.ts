import { expect } from "chai";
import { containerLabels, readLabels } from "./labels.ts";

const spec = {
  name: "fn",
  namespace: "ns",
  image: "app:1",
  envVars: { exec_timeout: "5s" },
  labels: { team: "blue", "com.busker.replica": "another", "com.openfaas.function": "another" },
  annotations: { topic: "kafka" },
};
const labels = containerLabels({ id: "fn-1", spec, revision: "w1", platform: "0123456789", key: "UABC" });

describe("containerLabels()", () => {
  it("keeps the function's own labels and its annotations, and puts ours over both", () => {
    expect(labels).to.include({
      team: "blue",
      "com.openfaas.annotations.topic": "kafka",
      "com.openfaas.function": "fn",
      "com.busker.platform": "0123456789",
      "com.busker.replica": "fn-1",
    });
  });

  it("tells all by which another provider takes the replica over", () => {
    expect(readLabels(labels)).to.deep.equal({
      id: "fn-1",
      namespace: "ns",
      name: "fn",
      revision: "w1",
      timeoutMs: 5000,
      key: "UABC",
    });
  });

  for (const missing of ["replica", "function", "revision", "timeout-ms", "key"])
    it(`is read back as none without com.busker.${missing}`, () => {
      const { [`com.busker.${missing}`]: _, ...rest } = labels;
      expect(readLabels(rest)).to.equal(undefined);
    });
});
