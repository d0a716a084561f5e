import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { within } from "../../test/support/collector.ts";
import { startCollector, type TestCollector } from "../../test/support/otlp.ts";
import { type LogFields, silentLog } from "./log.ts";
import { openTracing, type Tracing } from "./tracing.ts";

const sampling = { isParentBased: true, ratio: 1 };
const parent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", isSampled: true };

const open = async (endpoint: string, log = silentLog): Promise<Tracing> => {
  const tracing = await openTracing({ url: `${endpoint}/v1/traces`, delayMs: 20, sampling }, "gateway", log);
  if (!tracing) throw new Error("tracing is off");
  return tracing;
};

describe("openTracing()", () => {
  it("gives nothing where nothing is configured", async () =>
    expect(await openTracing(undefined, "gateway", silentLog)).to.equal(undefined));

  describe("with a collector", () => {
    let collector: TestCollector;
    before(async () => (collector = await startCollector()));
    after(() => collector.stop());

    it("exports a span with all that is known of it", async () => {
      const tracing = await open(collector.url);
      const span = tracing.begin({
        name: "a",
        kind: "server",
        parent,
        startMs: 1_769_860_800_123.25,
        attributes: { text: "x", count: 2, part: 0.5, is: true },
        links: [{ traceId: "1".repeat(32), spanId: "2".repeat(16) }],
      });
      const child = span.child({ name: "b", kind: "internal", startMs: 1_769_860_800_124 });
      child.end({ error: "broken", endMs: 1_769_860_800_125 });
      span.end({ endMs: 1_769_860_800_126 });
      span.end({ endMs: 1_769_860_800_200 });
      const spans = await collector.trace(parent.traceId, ["a", "b"]);
      expect(spans).to.have.length(2);
      const [b, a] = spans;
      expect(a).to.include({
        parentSpanId: parent.spanId,
        kind: 2,
        startTimeUnixNano: "1769860800123250000",
        endTimeUnixNano: "1769860800126000000",
      });
      expect(a?.attributes).to.deep.equal({ text: "x", count: 2, part: 0.5, is: true });
      expect(a?.links[0]).to.include({ traceId: "1".repeat(32), spanId: "2".repeat(16) });
      expect(a?.resource).to.include({ "service.name": "busker-gateway", "service.namespace": "busker" });
      expect(b).to.deep.include({ parentSpanId: a?.spanId, kind: 1, status: { code: 2, message: "broken" } });
      await tracing.stop();
    });

    it("sends what waits when it is stopped", async () => {
      const tracing = await open(collector.url);
      const span = tracing.begin({ name: "last", kind: "client" });
      span.end();
      await tracing.stop();
      expect(collector.spans().some(({ spanId }) => spanId === span.context.spanId)).to.equal(true);
    });

    it("tells nobody of a span that is not sampled, nor of what it causes", async () => {
      const tracing = await open(collector.url);
      const traceId = "3".repeat(32);
      const span = tracing.begin({ name: "a", kind: "server", parent: { ...parent, traceId, isSampled: false } });
      expect(span.traceparent).to.match(/-00$/);
      span.child({ name: "b", kind: "internal" }).end();
      span.end();
      await tracing.stop();
      expect(collector.spans().filter((each) => each.traceId === traceId)).to.deep.equal([]);
    });
  });

  describe("with a collector that does not answer", () => {
    let silent: Server;
    let asked: Promise<ServerResponse>;
    before(async () => {
      asked = new Promise((resolve) => (silent = createServer((_request, response) => resolve(response))));
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    });
    after(() => {
      silent.closeAllConnections();
      silent.close();
    });

    it("holds on to so many spans only, says that it has dropped others, and ends soon", async () => {
      const told: [string, LogFields | undefined][] = [];
      const warn = (message: string, fields?: LogFields): void => void told.push([message, fields]);
      const tracing = await open(`http://127.0.0.1:${(silent.address() as AddressInfo).port}`, { ...silentLog, warn });
      const begin = (): void => tracing.begin({ name: "a", kind: "server" }).end();
      for (let at = 0; at < 5000; at += 1) begin();
      const response = await within(asked, "a first request");
      // 512 are on their way and 2,048 wait; once those are gone, it can say how many had no room.
      response.writeHead(400).end();
      await within(
        (async () => {
          while (!told.some(([, fields]) => String(fields?.["what"]).includes("ropped"))) {
            begin();
            await new Promise((resolve) => setImmediate(resolve));
          }
        })(),
        "the warning",
      );
      expect(told[0]?.[0]).to.equal("spans are lost");
      // The exporter's own patience is ten seconds for a request.
      await within(tracing.stop(), "the stop", 8000);
    });
  });
});
