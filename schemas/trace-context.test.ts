import { expect } from "chai";
import { formatTraceparent, parseTraceparent, readTraceHeaders, withTraceHeaders } from "./trace-context.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";
const plain = `00-${traceId}-${spanId}-01`;

describe("parseTraceparent()", () => {
  const taken = [
    { text: plain, isSampled: true },
    { text: `00-${traceId}-${spanId}-00`, isSampled: false },
    { text: `00-${traceId}-${spanId}-03`, isSampled: true },
    { text: `cc-${traceId}-${spanId}-01`, isSampled: true },
    { text: `cc-${traceId}-${spanId}-01-what-the-future-will-be-like`, isSampled: true },
  ];
  for (const { text, isSampled } of taken)
    it(`reads ${text}`, () => expect(parseTraceparent(text)).to.deep.equal({ traceId, spanId, isSampled }));

  const ignored = [
    undefined,
    "",
    "00-1-2-01",
    `ff-${traceId}-${spanId}-01`,
    `00-${traceId}-${spanId}-01-more`,
    `cc-${traceId}-${spanId}-01.more`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId}-${spanId}`,
    `${plain}, ${plain}`,
    `${plain}\n`,
  ];
  for (const text of ignored)
    it(`ignores ${JSON.stringify(text)}`, () => expect(parseTraceparent(text)).to.equal(undefined));

  it("reads what formatTraceparent() writes", () =>
    expect(formatTraceparent({ traceId, spanId, isSampled: true })).to.equal(plain));
});

describe("readTraceHeaders()", () => {
  it("keeps both", () =>
    expect(readTraceHeaders(plain, "a=1,b=2")).to.deep.equal({ traceparent: plain, tracestate: "a=1,b=2" }));
  it("keeps no state without a parent that can be read", () =>
    expect(readTraceHeaders("00-1-2-01", "a=1")).to.deep.equal({}));
  it("keeps no state that is longer than everybody passes on", () =>
    expect(readTraceHeaders(plain, `a=${"1".repeat(511)}`)).to.deep.equal({ traceparent: plain }));
});

describe("withTraceHeaders()", () => {
  it("takes the place of what was said of a trace, in whatever case, and leaves the rest in order", () =>
    expect(
      withTraceHeaders(["Accept", "*/*", "TraceParent", "x", "tracestate", "y", "X-A", "traceparent"], {
        traceparent: plain,
      }),
    ).to.deep.equal(["Accept", "*/*", "X-A", "traceparent", "traceparent", plain]));
});
