import { expect } from "chai";
import type { ErrorCode } from "../../schemas/errors.ts";
import { errorCatalogue } from "../../schemas/errors.ts";
import { defaultRetryPolicy } from "../../schemas/retry-policy.ts";
import { type AttemptEnd, type AttemptFacts, decideRetry, readRetryAfterMs } from "./retry-decision.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");
const first: AttemptFacts = { number: 1, policy: defaultRetryPolicy, lastFreeWaitMs: 0, nowMs, random: 0.5 };
const last: AttemptFacts = { ...first, number: 10 };
const answered = (status: number, retryAfter?: string): AttemptEnd => ({ kind: "answered", status, retryAfter });
const failed = (code: ErrorCode): AttemptEnd => ({ kind: "failed", error: { code, message: "it did not work" } });
const only = (codes: readonly number[]): AttemptFacts => ({ ...first, policy: { ...defaultRetryPolicy, codes } });

interface Case {
  readonly what: string;
  readonly end: AttemptEnd;
  readonly facts?: AttemptFacts;
  readonly decision: object;
}

const retried = (delayMs: number): object => ({ kind: "retry", delayMs, isFree: false });
const free = (delayMs: number): object => ({ kind: "retry", delayMs, isFree: true });
const dead = (code: ErrorCode, message: string): object => ({ kind: "dead", reason: { code, message } });

const cases: readonly Case[] = [
  ...[200, 202, 204, 301, 304].map((status) => ({
    what: `takes ${status} for a success`,
    end: answered(status),
    decision: { kind: "succeeded" },
  })),
  ...[400, 401, 404, 409, 422, 501].map((status) => ({
    what: `takes ${status} for the end`,
    end: answered(status),
    decision: dead("function_failed", `the function answered ${status}`),
  })),
  ...[408, 429, 500, 502, 503, 504].map((status) => ({
    what: `tries again after ${status}`,
    end: answered(status),
    decision: retried(7500),
  })),
  {
    what: "takes a listed 404 for a reason to try again",
    end: answered(404),
    facts: only([404]),
    decision: retried(7500),
  },
  {
    what: "takes an unlisted 500 for the end",
    end: answered(500),
    facts: only([404]),
    decision: dead("function_failed", "the function answered 500"),
  },
  {
    what: "gives up after the last attempt",
    end: answered(500),
    facts: last,
    decision: dead("function_failed", "the function answered 500 in the last of 10 attempts"),
  },
  {
    what: "tries again until the last attempt",
    end: answered(500),
    facts: { ...first, number: 9 },
    decision: retried(90_000),
  },
  {
    what: "waits twice as long each time",
    end: answered(500),
    facts: { ...first, number: 3 },
    decision: retried(30_000),
  },
  { what: "waits at least half", end: answered(500), facts: { ...first, random: 0 }, decision: retried(5000) },
  {
    what: "waits no longer than the most",
    end: answered(500),
    facts: { ...first, number: 9, random: 0.9999999 },
    decision: retried(120_000),
  },
  ...(["no_replica", "bus_unavailable", "line_full", "replica_busy", "provider_unavailable"] as const).map((code) => ({
    what: `tries again after ${code}, for ever`,
    end: failed(code),
    facts: last,
    decision: free(375),
  })),
  {
    what: "waits twice as long for a function that is not reached again",
    end: failed("no_replica"),
    facts: { ...first, lastFreeWaitMs: 4000 },
    decision: free(6000),
  },
  {
    what: "waits half a minute at most for a function that is not reached",
    end: failed("no_replica"),
    facts: { ...first, lastFreeWaitMs: 30_000 },
    decision: free(22_500),
  },
  ...(["replica_lost", "function_unreachable", "deadline_exceeded"] as const).flatMap((code) => [
    {
      what: `tries again after ${code}, whatever the codes`,
      end: failed(code),
      facts: only([]),
      decision: retried(7500),
    },
    {
      what: `counts ${code}`,
      end: failed(code),
      facts: last,
      decision: dead(code, "it did not work, in the last of 10 attempts"),
    },
  ]),
  ...(["function_failed", "start_failed", "internal"] as const).flatMap((code) => [
    { what: `takes ${code} for a 500`, end: failed(code), decision: retried(7500) },
    {
      what: `takes ${code} for the end where 500 is`,
      end: failed(code),
      facts: only([]),
      decision: dead(code, "it did not work"),
    },
  ]),
  ...(["function_not_found", "body_too_large", "response_too_large", "invalid_request", "not_found"] as const).map(
    (code) => ({
      what: `takes ${code} for the end`,
      end: failed(code),
      decision: dead(code, "it did not work"),
    }),
  ),
  { what: "waits as long as a 429 asks for", end: answered(429, "60"), decision: retried(60_000) },
  {
    what: "waits until the date that a 503 names",
    end: answered(503, "Thu, 01 Jan 2026 00:01:30 GMT"),
    decision: retried(90_000),
  },
  { what: "waits no less than the least", end: answered(429, "1"), decision: retried(10_000) },
  { what: "waits a day at most", end: answered(503, "999999999"), decision: retried(24 * 3600_000) },
  { what: "does not ask a 500 how long", end: answered(500, "60"), decision: retried(7500) },
  { what: "passes over a Retry-After that says nothing", end: answered(429, "soon"), decision: retried(7500) },
];

describe("decideRetry()", () => {
  for (const { what, end, facts = first, decision } of cases)
    it(what, () => expect(decideRetry(end, facts)).to.deep.equal(decision));

  it("decides about every code of the catalogue", () => {
    for (const code of Object.keys(errorCatalogue) as ErrorCode[])
      expect(decideRetry(failed(code), first).kind, code).to.be.oneOf(["dead", "retry"]);
  });
});

describe("readRetryAfterMs()", () => {
  for (const [text, ms] of [
    ["0", 0],
    ["120", 120_000],
    ["Thu, 01 Jan 2026 00:00:10 GMT", 10_000],
    ["Thursday, 01-Jan-26 00:00:10 GMT", 10_000],
    ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
    ["-1", undefined],
    ["1.5", undefined],
    ["2026", 2_026_000],
    ["", undefined],
    ["2026-01-01", undefined],
  ] as const)
    it(`reads ${JSON.stringify(text)} as ${ms}`, () => expect(readRetryAfterMs(text, nowMs)).to.equal(ms));
});
