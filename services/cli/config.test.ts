import { expect } from "chai";
import { readUpConfig } from "./config.ts";
import { nodeProblem } from "./node-version.ts";

describe("readUpConfig()", () => {
  it("gives the fixed points of the README for an empty environment", () => {
    expect(readUpConfig({})).to.deep.equal({
      dataFolder: "./data",
      port: 8080,
      metricsPort: 8082,
      queueMetricsPort: 8083,
      scalerMetricsPort: 8084,
      natsPort: 4222,
      natsHost: "",
      backend: "auto",
    });
  });

  it("names all faults together, because one at a time is a start for each", () => {
    const env = {
      BUSKER_PORT: "http",
      BUSKER_METRICS_PORT: "99999",
      BUSKER_QUEUE_METRICS_PORT: "x",
      BUSKER_SCALER_METRICS_PORT: "y",
      BUSKER_NATS_PORT: "-1",
      BUSKER_BACKEND: "k8s",
    };
    expect(() => readUpConfig(env))
      .to.throw()
      .with.property("message")
      .that.matches(
        /BUSKER_PORT .*"http"\nBUSKER_METRICS_PORT .*"99999"\nBUSKER_QUEUE_METRICS_PORT .*"x"\nBUSKER_SCALER_METRICS_PORT .*"y"\nBUSKER_NATS_PORT .*"-1"\nBUSKER_BACKEND .*"k8s"/,
      );
  });
});

describe("nodeProblem()", () => {
  const cases = [
    { version: "20.18.0", fine: true },
    { version: "20.20.2", fine: true },
    { version: "22.1.0", fine: true },
    { version: "100.0.0", fine: true },
    { version: "20.17.9", fine: false },
    { version: "18.20.4", fine: false },
  ];
  for (const { version, fine } of cases)
    it(`${fine ? "accepts" : "refuses"} ${version}, because 20.18 is the oldest that works`, () => {
      expect(nodeProblem(version) === undefined).to.equal(fine);
    });
});
