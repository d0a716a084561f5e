import { expect } from "chai";
import type { CallRecord } from "../../schemas/call.ts";
import { callIdHeader, viewCall, viewWholeCall } from "./call-view.ts";

const record: CallRecord = {
  id: "a b",
  function: { namespace: "dev", name: "echo" },
  state: "succeeded",
  priority: "high",
  queuedMs: 1_000,
  runAtMs: 2_000,
  nextMs: 3_000,
  endedMs: 6_500,
  expiresMs: 10_000,
  attempts: [
    { number: 1, startedMs: 2_000, endedMs: 2_500, error: { code: "no_replica", message: "none" }, isFree: true },
    { number: 2, startedMs: 6_000, endedMs: 6_500, status: 200 },
  ],
  callbackUrl: "http://caller/secret",
  request: {
    head: { method: "PUT", path: "/x?y=1", headers: ["Authorization", "Bearer hush"] },
    contentType: "text/plain",
    body: { bytes: 2, place: "here" },
  },
  response: {
    status: 200,
    headers: ["Set-Cookie", "a=1", "X-One", "1", "set-cookie", "b=2"],
    body: { bytes: 5, place: "here" },
  },
};
const whole = { record, request: Buffer.from("hi"), response: Buffer.from("grüß") };

describe("viewCall()", () => {
  it("shows times as RFC 3339, attempts, and the response with headers and text", () => {
    expect(viewCall({ ...whole, response: Buffer.from("hello") })).to.deep.equal({
      id: "a b",
      function: "echo.dev",
      state: "succeeded",
      priority: "high",
      queuedAt: "1970-01-01T00:00:01.000Z",
      runAt: "1970-01-01T00:00:02.000Z",
      startedAt: "1970-01-01T00:00:02.000Z",
      endedAt: "1970-01-01T00:00:06.500Z",
      expiresAt: "1970-01-01T00:00:10.000Z",
      attempts: [
        {
          number: 1,
          startedAt: "1970-01-01T00:00:02.000Z",
          durationSeconds: 0.5,
          error: { code: "no_replica", message: "none" },
          countsAgainstLimit: false,
        },
        { number: 2, startedAt: "1970-01-01T00:00:06.000Z", durationSeconds: 0.5, status: 200 },
      ],
      response: {
        status: 200,
        headers: { "Set-Cookie": ["a=1", "b=2"], "X-One": "1" },
        bytes: 5,
        body: "hello",
        url: "/async-function/a%20b/response",
      },
    });
  });

  it("gives a body that is no UTF-8 in Base64, since JSON holds only text", () => {
    const { response } = viewCall({ ...whole, response: Buffer.from([0xff, 0, 1]) });
    expect(response).to.include({ bodyBase64: "/wAB" }).and.not.have.property("body");
  });

  it("shows no request and no callback URL: both may hold credentials", () => {
    expect(JSON.stringify(viewCall(whole))).to.not.match(/hush|secret/);
  });

  it("says when the next attempt is due of a call that is not over", () => {
    const view = viewCall({ ...whole, record: { ...record, state: "retrying" } });
    expect(view["nextAttemptAt"]).to.equal("1970-01-01T00:00:03.000Z");
  });
});

describe("callIdHeader()", () => {
  const cases = [
    ["Order 7/é", "Order 7/é"],
    ["€ 5", "%E2%82%AC%205"],
    ["a\r\nb", "a%0D%0Ab"],
    ["\ud800", "%EF%BF%BD"],
  ] as const;
  for (const [id, header] of cases)
    it(`writes ${JSON.stringify(id)} as ${header}`, () => {
      expect(callIdHeader(id)).to.equal(header);
    });
});

describe("viewWholeCall()", () => {
  it("adds the request and the callback URL", () => {
    expect(viewWholeCall(whole)).to.deep.include({
      callbackUrl: "http://caller/secret",
      request: {
        method: "PUT",
        path: "/x?y=1",
        headers: { Authorization: "Bearer hush" },
        contentType: "text/plain",
        bytes: 2,
        body: "hi",
      },
    });
  });
});
