import { expect } from "chai";
import { createRecordingBus } from "../services/bus/fixtures/recording-bus.ts";
import type { SpanData } from "../schemas/span.ts";
import { openSpanBatch } from "./span-batch.ts";

const name = { namespace: "openfaas-fn", name: "fn", replica: "fn-1" };
const span: SpanData = {
  traceId: "1".repeat(32),
  spanId: "2".repeat(16),
  name: "fn",
  kind: "server",
  startMs: 1,
  endMs: 2,
  attributes: {},
};

describe("openSpanBatch()", () => {
  it("publishes by itself, and at once when there are many", async () => {
    const { bus, published } = createRecordingBus();
    const batch = openSpanBatch(bus, name);
    for (let at = 0; at < 501; at += 1) batch.take(span);
    expect(published.all.map(({ data }) => data["spans"])).to.deep.equal([Array.from({ length: 500 }, () => span)]);
    const [, rest] = await published.reach(2);
    expect(rest).to.deep.include({ subject: "busker.span.openfaas-fn.fn.fn-1", data: { spans: [span], dropped: 0 } });
    batch.stop();
  });

  it("keeps 2,000 while the bus is away, and says how many more there were", () => {
    const { bus, published, setConnected } = createRecordingBus();
    const batch = openSpanBatch(bus, name);
    setConnected(false);
    for (let at = 0; at < 2100; at += 1) batch.take(span);
    batch.flush();
    expect(published.all).to.deep.equal([]);
    setConnected(true);
    batch.flush();
    expect(published.all.map(({ data }) => data["dropped"])).to.deep.equal([100, 0, 0, 0]);
    expect(published.all.flatMap(({ data }) => data["spans"])).to.have.length(2000);
    batch.stop();
  });
});
