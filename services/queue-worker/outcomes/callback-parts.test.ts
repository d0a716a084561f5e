import { expect } from "chai";
import type { CallRecord } from "../../../schemas/call.ts";
import { callbackHeaders, passedOnHeaders } from "./callback-headers.ts";
import { nextTryMs } from "./next-try.ts";
import { findOwnFunction, ownGateways } from "./own-functions.ts";
import { signWebhook } from "./sign-webhook.ts";

const record: CallRecord = {
  id: "c1",
  function: { namespace: "openfaas-fn", name: "resize" },
  state: "succeeded",
  priority: "normal",
  queuedMs: 1_700_000_000_123,
  attempts: [
    { number: 1, startedMs: 10, endedMs: 20, isFree: true },
    { number: 1, startedMs: 10, endedMs: 20, status: 500 },
    { number: 2, startedMs: 100, endedMs: 1350.5, status: 200 },
  ],
};

const pairs = (list: readonly string[]): Record<string, string> =>
  Object.fromEntries(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] ?? ""]] : [])));

describe("callbackHeaders()", () => {
  it("says how the call went, as OpenFaaS does", () => {
    expect(pairs(callbackHeaders(record, 200, 9))).to.deep.equal({
      "X-Call-Id": "c1",
      "X-Function-Status": "200",
      "X-Function-Name": "resize",
      "X-Duration-Seconds": "1.250500",
      "X-Start-Time": "1700000000123000000",
      "X-Retry": "1",
      "X-Retry-Max": "9",
    });
  });

  it("names the namespace where it is not the usual one, and no most of a function that is gone", () => {
    const other = { ...record, function: { namespace: "images", name: "resize" } };
    const headers = pairs(callbackHeaders(other, 200, undefined));
    expect(headers).to.include({ "X-Function-Name": "resize.images" });
    expect(headers).to.not.have.property("X-Retry-Max");
  });

  it("writes an id that no header can hold as subjects do", () => {
    expect(pairs(callbackHeaders({ ...record, id: "ä\r\nb" }, 200, 0))["X-Call-Id"]).to.equal("=c3=a4=0d=0ab");
  });
});

describe("passedOnHeaders()", () => {
  it("keeps what is of the response, and drops what is of its connection or told of the call", () => {
    const headers = [
      "Content-Type",
      "text/plain",
      "Connection",
      "close, X-Hop",
      "X-Hop",
      "1",
      "Transfer-Encoding",
      "chunked",
      "content-length",
      "3",
      "Host",
      "a",
      "Expect",
      "100-continue",
      "X-Call-Id",
      "forged",
      "Webhook-Id",
      "forged",
      "User-Agent",
      "me",
      "X-Own",
      "1",
      "x-own",
      "2",
    ];
    expect(passedOnHeaders({ status: 200, headers })).to.deep.equal([
      "Content-Type",
      "text/plain",
      "X-Own",
      "1",
      "x-own",
      "2",
    ]);
  });
});

describe("signWebhook()", () => {
  it("signs as the example of Standard Webhooks is signed", async () => {
    // The example of its libraries' tests: key, id, time and body, and what must come of them.
    const key = Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64");
    const body = async function* () {
      yield Buffer.from('{"test": ');
      yield Buffer.from("2432232314}");
    };
    const signature = await signWebhook(key, {
      id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
      timestamp: 1_614_265_330,
      body: body(),
    });
    expect(signature).to.equal("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  });
});

describe("nextTryMs()", () => {
  for (const [tries, asked, random, wanted] of [
    [1, undefined, 0, 500],
    [1, undefined, 0.999_999, 1000],
    [4, undefined, 0, 4000],
    [11, undefined, 0, 300_000],
    [10_000, undefined, 0.999_999, 600_000],
    [1, 0, 0, 1000],
    [9, 5000, 0, 5000],
    [1, 1e12, 0, 86_400_000],
  ] as const)
    it(`is ${wanted} ms after ${tries} tries, asked for ${asked}, by chance ${random}`, () =>
      expect(nextTryMs(tries, asked, random)).to.equal(wanted));
});

describe("findOwnFunction()", () => {
  const gateways = ownGateways(8081, "https://faas.example.com");
  const found = (name: string, path: string, namespace = "openfaas-fn") => ({ function: { namespace, name }, path });

  for (const [url, wanted] of [
    ["http://gateway:8080/function/next", found("next", "/")],
    ["http://gateway.openfaas:8080/async-function/next.images/a/b?c=d", found("next", "/a/b?c=d", "images")],
    ["http://127.0.0.1:8081/function/next?c=d", found("next", "/?c=d")],
    ["http://LOCALHOST:8081/function/next/", found("next", "/")],
    ["https://faas.example.com/function/next", found("next", "/")],
    ["http://127.0.0.1:8080/function/next", undefined],
    ["http://gateway/function/next", undefined],
    ["http://gateway:8080/system/functions", undefined],
    ["http://gateway:8080/function/", undefined],
    ["http://gateway:8080/function/NEXT", undefined],
    ["http://gateway:8080/function/..%2fsystem", undefined],
    ["http://gateway:8080.example.com/function/next", undefined],
    ["http://example.com/function/next", undefined],
  ] as const)
    it(`finds ${wanted ? `${wanted.function.name} at ${wanted.path}` : "nothing of ours"} in ${url}`, () =>
      expect(findOwnFunction(url, gateways)).to.deep.equal(wanted));
});
