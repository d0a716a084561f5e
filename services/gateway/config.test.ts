import { expect } from "chai";
import { readGatewayConfig } from "./config.ts";

describe("readGatewayConfig()", () => {
  it('rejects a port of "abc" and everything else that is wrong, together', () => {
    expect(() => readGatewayConfig({ BUSKER_PORT: "abc", BUSKER_MAX_LINE: "0" })).to.throw(
      /BUSKER_CREDENTIALS must be set[^]*BUSKER_PORT must be a whole number[^]*BUSKER_MAX_LINE/,
    );
  });

  it("has the project's fixed points as defaults", () => {
    expect(readGatewayConfig({ BUSKER_CREDENTIALS: "c" })).to.include({
      dataFolder: "./data",
      host: "127.0.0.1",
      port: 8080,
      metricsPort: 8082,
      backend: "auto",
    });
  });
});
