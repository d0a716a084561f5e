import { expect } from "chai";
import type { OutcomeTarget } from "./call.ts";
import { isForeignSubject, parseOutcomeTarget } from "./outcome-target.ts";

const toFunction = (name: string, namespace = "openfaas-fn"): OutcomeTarget => ({
  kind: "function",
  function: { namespace, name },
});

const read: readonly (readonly [text: string, target: OutcomeTarget])[] = [
  ["resize", toFunction("resize")],
  ["resize.images", toFunction("resize", "images")],
  ["function:resize.images", toFunction("resize", "images")],
  ["nats:orders.done", { kind: "subject", subject: "orders.done" }],
  ["nats:Orders.DONE-2_x.$now", { kind: "subject", subject: "Orders.DONE-2_x.$now" }],
  ["https://example.com/a?b=c", { kind: "url", url: "https://example.com/a?b=c" }],
  ["HTTP://example.com", { kind: "url", url: "HTTP://example.com" }],
];

const refused: readonly (readonly [text: string, rule: string])[] = [
  ["", "NAME or NAME.NAMESPACE"],
  ["Resize", "NAME or NAME.NAMESPACE"],
  ["a.b.c", "NAME or NAME.NAMESPACE"],
  ["ftp://example.com", "NAME or NAME.NAMESPACE"],
  ["http://", "a URL that can be read"],
  ["https://me:secret@example.com/", "without user and password"],
  ["nats:", "without wildcards"],
  ["nats:busker", "not busker"],
  ["nats:busker.call.succeeded.a.b", "not busker"],
  ["nats:$JS.API.STREAM.DELETE.INVOCATIONS", "begin with _ or $"],
  ["nats:$KV.functions.a", "begin with _ or $"],
  ["nats:_INBOX.a", "begin with _ or $"],
  ["nats:_BUSKER.gateway.a", "begin with _ or $"],
  ["nats:orders.*", "without wildcards"],
  ["nats:orders.>", "without wildcards"],
  ["nats:orders..done", "without wildcards"],
  ["nats:orders.", "without wildcards"],
  ["nats:.orders", "without wildcards"],
  ["nats:orders done", "without wildcards"],
  ["nats:orders\r\nPUB x", "without wildcards"],
  [`nats:${"a".repeat(251)}`, "without wildcards"],
];

describe("parseOutcomeTarget()", () => {
  for (const [text, target] of read)
    it(`reads ${JSON.stringify(text)}`, () => expect(parseOutcomeTarget(text)).to.deep.equal(target));

  for (const [text, rule] of refused)
    it(`refuses ${JSON.stringify(text.slice(0, 60))} by its rule`, () =>
      expect(() => parseOutcomeTarget(text)).to.throw(RangeError, rule));
});

describe("isForeignSubject()", () => {
  it("lets subjects through that only begin with the same letters as the platform's", () => {
    for (const subject of ["buskers.a", "orders.busker", "a._INBOX", "a"])
      expect(isForeignSubject(subject)).to.equal(true);
  });
});
