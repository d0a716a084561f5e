import { expect } from "chai";
import type { CallRecord, FinalState } from "../../schemas/call.ts";
import type { WholeRecord } from "../bus/call-record-wire.ts";
import { fitRecord } from "./fit-record.ts";

const kilobyte = 1024;

const wholeOf = (state: FinalState, requestBytes: number, responseBytes: number, headerBytes = 10): WholeRecord => {
  const headers = ["X-Long", "x".repeat(headerBytes)];
  const record: CallRecord = {
    id: "a",
    function: { namespace: "openfaas-fn", name: "fn" },
    state,
    priority: "normal",
    queuedMs: 1,
    attempts: [1, 2].map((number) => ({ number, startedMs: number, endedMs: number, status: 500 })),
    request: { head: { method: "POST", path: "/", headers }, body: { bytes: requestBytes, place: "here" } },
    response: { status: 200, headers, body: { bytes: responseBytes, place: "here" } },
  };
  return { record, request: Buffer.alloc(requestBytes), response: Buffer.alloc(responseBytes) };
};

describe("fitRecord()", () => {
  it("leaves what fits as it is", () => {
    const whole = wholeOf("succeeded", 100, 100);
    expect(fitRecord(whole, 64 * kilobyte)).to.equal(whole);
  });

  it("lets go of the request of one that succeeded, and says how large it was", () => {
    const { record, request, response } = fitRecord(wholeOf("succeeded", 60_000, 20_000), 64 * kilobyte);
    expect(record.request?.body).to.deep.equal({ bytes: 60_000, place: "none" });
    expect(record.response?.body.place).to.equal("here");
    expect([request.length, response.length]).to.deep.equal([0, 20_000]);
  });

  it("lets go of the response of one that is dead, which is to be run again", () => {
    const { record, request, response } = fitRecord(wholeOf("dead", 20_000, 60_000), 64 * kilobyte);
    expect(record.response?.body).to.deep.equal({ bytes: 60_000, place: "none" });
    expect([request.length, response.length]).to.deep.equal([20_000, 0]);
  });

  it("lets go of everything but how it ended, where that alone fits", () => {
    const { record, request, response } = fitRecord(wholeOf("dead", 60_000, 60_000, 60_000), 32 * kilobyte);
    expect([request.length, response.length]).to.deep.equal([0, 0]);
    expect(record.request?.head).to.deep.equal({ method: "POST", path: "/", headers: [] });
    expect(record.response?.headers).to.deep.equal([]);
    expect(record).to.include({ state: "dead", id: "a" });
    expect(record.attempts.map(({ number }) => number)).to.deep.equal([2]);
  });
});
