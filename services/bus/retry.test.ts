import { expect } from "chai";
import { retryUntilReady } from "./retry.ts";

describe("retryUntilReady()", () => {
  it("gives what the first attempt that succeeds gives, because another process prepares it meanwhile", async () => {
    let attempts = 0;
    const attempt = async (): Promise<string> => {
      attempts += 1;
      if (attempts < 3) throw new Error("not yet");
      return "ready";
    };
    expect(await retryUntilReady(attempt)).to.equal("ready");
    expect(attempts).to.equal(3);
  });

  it("rejects with the last error when its time is over, so that a start does not hang", async () => {
    let attempts = 0;
    const error = await retryUntilReady(async () => {
      attempts += 1;
      throw new Error(`attempt ${attempts}`);
    }, 0).catch((reason: unknown) => reason);
    expect(error).to.have.property("message", "attempt 1");
  });
});
