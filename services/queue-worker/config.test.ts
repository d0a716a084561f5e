import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { defaultRetryPolicy } from "../../schemas/retry-policy.ts";
import { readQueueWorkerConfig } from "./config.ts";

const least = { BUSKER_CREDENTIALS: "/creds" };

const faultsOf = (env: Readonly<Record<string, string>>): string => {
  try {
    readQueueWorkerConfig(env);
  } catch (error) {
    if (error instanceof BuskerError && error.code === "invalid_request") return error.message;
    throw error;
  }
  return "none";
};

describe("readQueueWorkerConfig()", () => {
  it("has a default for everything but the credentials", () => {
    const config = readQueueWorkerConfig(least);
    expect(config).to.include({ metricsPort: 8083, leaseMs: 5000, maxCalls: 1000, natsUrl: "nats://127.0.0.1:4222" });
    expect(config.retry).to.deep.equal(defaultRetryPolicy);
    expect(faultsOf({})).to.match(/^BUSKER_CREDENTIALS must be set/);
  });

  it("reads how calls are tried again", () => {
    const { retry } = readQueueWorkerConfig({
      ...least,
      BUSKER_RETRY_ATTEMPTS: "3",
      BUSKER_RETRY_CODES: "500, 503",
      BUSKER_RETRY_MIN_WAIT: "1s",
      BUSKER_RETRY_MAX_WAIT: "1m",
    });
    expect(retry).to.deep.equal({ attempts: 3, codes: [500, 503], minWaitMs: 1000, maxWaitMs: 60_000 });
  });

  it("reads how outcomes are told", () => {
    const config = readQueueWorkerConfig({
      ...least,
      BUSKER_CALLBACK_TIMEOUT: "5s",
      BUSKER_CALLBACK_ATTEMPTS: "3",
      BUSKER_CALLBACK_ALLOW: "hooks.internal, 10.0.0.0/8",
      BUSKER_GATEWAY_URL: "https://faas.example.com",
    });
    expect(config).to.include({ callbackTimeoutMs: 5000, callbackAttempts: 3, gatewayUrl: "https://faas.example.com" });
    expect(config.callbackAllow.hasAddress("10.1.2.3")).to.equal(true);
    expect(config.callbackAllow.hasAddress("127.0.0.1")).to.equal(false);
    expect(faultsOf({ ...least, BUSKER_CALLBACK_ALLOW: "10.0.0.0/64", BUSKER_GATEWAY_URL: "gateway" })).to.match(
      /^BUSKER_CALLBACK_ALLOW must have a prefix of 0 to 32 behind 10.0.0.0; got .*\nBUSKER_GATEWAY_URL must be an http/,
    );
  });

  it("names everything that is wrong together", () => {
    const faults = faultsOf({
      BUSKER_LEASE: "soon",
      BUSKER_MAX_CALLS: "0",
      BUSKER_RETRY_CODES: "many",
      BUSKER_RETRY_ATTEMPTS: "10001",
    }).split("\n");
    expect(faults.map((fault) => fault.split(" ")[0])).to.deep.equal([
      "BUSKER_CREDENTIALS",
      "BUSKER_LEASE",
      "BUSKER_MAX_CALLS",
      "BUSKER_RETRY_ATTEMPTS",
      "BUSKER_RETRY_CODES",
    ]);
  });

  it("refuses a shortest wait that is longer than the longest", () => {
    expect(faultsOf({ ...least, BUSKER_RETRY_MIN_WAIT: "5m" })).to.match(/BUSKER_RETRY_MAX_WAIT must be at least/);
  });
});
