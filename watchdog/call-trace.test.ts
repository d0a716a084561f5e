import { expect } from "chai";
import type { ReplicaSpans, SpanData } from "../schemas/span.ts";
import { spanAnyFilter } from "../schemas/subjects.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { openInvoker } from "../services/bus/invoker.ts";
import { within } from "../test/support/collector.ts";
import { startTestNats, type TestNats } from "../test/support/nats.ts";
import { openTestReplica, type TestReplica } from "../test/support/replicas.ts";
import type { Call, Mode } from "./mode.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const callerId = "b7ad6b7169203331";
const sampled = `00-${traceId}-${callerId}-01`;
const traced = { namespace: "openfaas-fn", name: "traced" };
const plain = { namespace: "openfaas-fn", name: "plain" };

describe("createCallTracer()", () => {
  let nats: TestNats;
  let bus: Bus;
  let seen: Call[];
  const replicas: TestReplica[] = [];
  const told: SpanData[] = [];
  let heard = (): void => {};

  /** Answers with the status that its body names. */
  const mode: Mode = {
    start: async () => {},
    stop: async () => {},
    begin: (call, finish) => {
      seen.push(call);
      setImmediate(() => finish({ status: Number(Buffer.from(call.body).toString()), headers: [], body: "" }));
      return () => {};
    },
  };

  const spansOf = async (count: number): Promise<readonly SpanData[]> => {
    await within(
      new Promise<void>((resolve) => {
        heard = () => told.length >= count && resolve();
        heard();
      }),
      `${count} spans`,
    );
    return told.splice(0);
  };

  const call = (name: typeof traced, traceparent: string | undefined, status = 200): Promise<unknown> =>
    within(
      new Promise((resolve) =>
        openInvoker(bus).invoke(
          {
            function: name,
            callId: "call-1",
            head: { method: "GET", path: "/a?secret=1", headers: ["Accept", "*/*", "Traceparent", "of the client"] },
            traceparent,
            tracestate: traceparent && "a=1",
            body: Buffer.from(String(status)),
            deadlineMs: Date.now() + 10_000,
          },
          resolve,
        ),
      ),
      "the call",
    );

  before(async () => {
    nats = await startTestNats();
    const user = { url: nats.url, credentialsFile: nats.trust.credentialsFile("admin") };
    bus = await openBus({ ...user, user: "admin", name: "test" });
    bus.nc.subscribe(spanAnyFilter, {
      callback: (_error, message) => {
        told.push(...message.json<ReplicaSpans>().spans);
        heard();
      },
    });
    await bus.nc.flush();
    const options = { nats, slots: 4, mode };
    replicas.push(
      await openTestReplica({ ...options, function: plain, id: "plain-1" }),
      await openTestReplica({
        ...options,
        function: traced,
        id: "traced-1",
        traces: { ratio: 0, isParentBased: true },
      }),
    );
  });
  beforeEach(() => (seen = []));
  after(async () => {
    for (const replica of replicas) await replica.close();
    await bus.close();
    await nats.stop();
  });

  it("makes two spans of a call in a trace, the function's within the watchdog's, and tells the function of its own", async () => {
    await call(traced, sampled);
    const [inner, outer] = await spansOf(2);
    expect(outer).to.include({ traceId, parentId: callerId, name: "traced", kind: "server" });
    expect(outer?.attributes).to.include({
      "faas.invocation.id": "call-1",
      "faas.trigger": "http",
      "faas.coldstart": true,
      "http.response.status_code": 200,
    });
    expect(inner).to.include({ traceId, parentId: outer?.spanId, kind: "internal" });
    expect(inner?.attributes).to.include({ "url.path": "/a" });
    expect(seen[0]?.headers).to.deep.equal([
      "Accept",
      "*/*",
      "traceparent",
      `00-${traceId}-${inner?.spanId}-01`,
      "tracestate",
      "a=1",
    ]);
    expect(outer?.endMs).to.be.at.least(outer?.startMs ?? Number.NaN);
  });

  it("says of a call that failed that it did", async () => {
    await call(traced, sampled, 503);
    const [inner, outer] = await spansOf(2);
    expect([inner?.error, outer?.error]).to.deep.equal(["503", "503"]);
    expect(outer?.attributes).to.include({ "error.type": "503", "faas.coldstart": false });
  });

  const silent = [
    { what: "a trace that is not sampled", traceparent: `00-${traceId}-${callerId}-00` },
    { what: "no trace, where the policy samples none", traceparent: undefined },
    { what: "a malformed trace", traceparent: "00-1-2-01" },
  ];
  for (const { what, traceparent } of silent)
    it(`tells nothing of a call in ${what}, and passes a context on that says so`, async () => {
      await call(traced, traceparent);
      await call(traced, sampled);
      // What the first one had told would come first.
      expect(await spansOf(2)).to.have.length(2);
      const at = seen[0]?.headers.indexOf("traceparent") ?? -1;
      expect(seen[0]?.headers[at + 1]).to.match(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    });

  it("leaves calls of a replica that does not trace as they are", async () => {
    await call(plain, sampled);
    await call(traced, sampled);
    expect(await spansOf(2)).to.have.length(2);
    expect(seen[0]?.headers).to.deep.equal(["Accept", "*/*", "Traceparent", "of the client"]);
  });
});
