import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { headers as createHeaders } from "nats";
import { openBus } from "../services/bus/connection.ts";
import { startReceiver } from "../services/queue-worker/outcomes/fixtures/receiver.ts";
import { startTestEngine } from "./support/engine.ts";
import { busyboxFiles, makeImage } from "./support/images.ts";
import { type CollectedSpan, startCollector, type TestCollector } from "./support/otlp.ts";
import { eventually, startTestPlatform, type TestFunction, type TestPlatform } from "./support/platform.ts";
import { openWebSocket } from "./support/websocket.ts";

/*
 * Traces through a whole platform: a collector gets every span of a call, each with the right cause.
 */

const handler = `
const tries = new Map();
const events = async function* () {
  for (let at = 0; at < 3; at += 1) {
    yield "data: " + at + "\\n\\n";
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
export default async (event, context) => {
  if (event.path === "/events") return context.headers({ "Content-Type": "text/event-stream" }).succeed(events());
  const { headers, path } = event;
  const told = JSON.stringify({ traceparent: headers.traceparent, tracestate: headers.tracestate });
  if (path !== "/flaky") return context.status(path === "/fails" ? 500 : 200).succeed(told);
  const id = headers["x-call-id"];
  tries.set(id, (tries.get(id) ?? 0) + 1);
  return context.status(tries.get(id) === 1 ? 503 : 200).succeed(told);
};
`;

const webSocketFunction = readFileSync(
  fileURLToPath(new URL("fixtures/websocket-function.mjs", import.meta.url)),
  "utf8",
);

interface Told {
  readonly traceparent?: string;
  readonly tracestate?: string;
}

const newTrace = () => {
  const traceId = randomBytes(16).toString("hex");
  const spanId = randomBytes(8).toString("hex");
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
};

const deploy = async (platform: TestPlatform, name: string, more: TestFunction["more"] = {}): Promise<void> => {
  const fn = { name, code: { "h.mjs": handler }, envVars: { mode: "handler", handler: "h.mjs" }, more };
  const response = await platform.deploy(fn);
  expect(response.status, await response.text()).to.equal(202);
};

/** Each span as "name < name of its cause", so that a trace is read at a glance. */
const lineage = (spans: readonly CollectedSpan[]): string[] =>
  spans
    .map(({ name, parentSpanId }) => {
      const parent = spans.find((span) => span.spanId === parentSpanId)?.name ?? (parentSpanId ? "the client" : "none");
      return `${name} < ${parent}`;
    })
    .toSorted();

const named = (spans: readonly CollectedSpan[], name: string, at = 0): CollectedSpan => {
  const found = spans
    .filter((span) => span.name === name)
    .toSorted((one, other) => Number(BigInt(one.startTimeUnixNano) - BigInt(other.startTimeUnixNano)))[at];
  if (!found) throw new Error(`there is no span ${name}`);
  return found;
};

describe("traces", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let collector: TestCollector;
  let receiver: Awaited<ReturnType<typeof startReceiver>>;

  const accept = async (path: string, headers: Record<string, string>): Promise<string> => {
    const response = await fetch(`${platform.url}/async-function/${path}`, { method: "POST", headers, body: "a" });
    expect(response.status, await response.text()).to.equal(202);
    return response.headers.get("x-call-id") ?? "";
  };

  before(async function () {
    this.timeout(60_000);
    collector = await startCollector();
    receiver = await startReceiver((response) => response.end());
    platform = await startTestPlatform({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=mine",
      OTEL_BSP_SCHEDULE_DELAY: "100",
      BUSKER_CALLBACK_ALLOW: "127.0.0.1",
      BUSKER_RETRY_MIN_WAIT: "50ms",
    });
    await deploy(platform, "hello");
    await deploy(platform, "second");
    await deploy(platform, "first", { annotations: { "com.busker.on-success": "second" } });
    const ws = { name: "ws", code: { "server.mjs": webSocketFunction } };
    expect((await platform.deploy({ ...ws, envVars: { fprocess: "node server.mjs", mode: "http" } })).ok).to.equal(
      true,
    );
  });

  after(async () => {
    const code = await platform?.stop();
    await receiver?.stop();
    await collector?.stop();
    expect(code).to.equal(0);
  });

  const sync = (name: string, method = "GET"): string[] => [
    `${method} /function/:name`,
    "dispatch",
    name,
    `${name} function`,
  ];
  const syncLineage = (name: string, root: string, method = "GET"): string[] =>
    [
      `${method} /function/:name < ${root}`,
      `dispatch < ${method} /function/:name`,
      `${name} < ${method} /function/:name`,
      `${name} function < ${name}`,
    ].toSorted();

  it("continues a client's trace through gateway and replica to the function", async () => {
    const { traceId, spanId, traceparent } = newTrace();
    const response = await platform.invoke("hello/a?secret=1", { headers: { traceparent, tracestate: "a=1" } });
    const told = (await response.json()) as Told;
    const spans = await collector.trace(traceId, sync("hello"));
    expect(lineage(spans)).to.deep.equal(syncLineage("hello", "the client"));
    const gateway = named(spans, "GET /function/:name");
    expect(gateway.parentSpanId).to.equal(spanId);
    expect(told).to.deep.equal({
      traceparent: `00-${traceId}-${named(spans, "hello function").spanId}-01`,
      tracestate: "a=1",
    });
    expect(gateway.attributes).to.include({
      "http.request.method": "GET",
      "http.route": "/function/:name",
      "url.path": "/function/hello/a",
      "http.response.status_code": 200,
      "faas.invoked_name": "hello.openfaas-fn",
      "faas.invocation.id": response.headers.get("x-call-id"),
    });
    expect(gateway.resource).to.include({ "service.name": "busker-gateway" });
    expect(named(spans, "hello").resource).to.include({ "service.name": "hello", "faas.name": "hello.openfaas-fn" });
    expect(JSON.stringify(spans)).not.to.include("secret");
    expect(collector.requests()[0]).to.include({ "x-tenant": "mine" });
  });

  it("begins a trace where there is none, and where there is a malformed one", async () => {
    for (const headers of [{}, { traceparent: "00-1-2-01" }] as Record<string, string>[]) {
      const told = (await (await platform.invoke("hello", { headers })).json()) as Told;
      const [, traceId = ""] = told.traceparent?.split("-") ?? [];
      expect(lineage(await collector.trace(traceId, sync("hello")))).to.deep.equal(syncLineage("hello", "none"));
    }
  });

  it("says that a call has failed", async () => {
    const { traceId, traceparent } = newTrace();
    await platform.invoke("hello/fails", { headers: { traceparent } });
    const spans = await collector.trace(traceId, sync("hello"));
    const codes = Object.fromEntries(spans.map(({ name, status }) => [name, status.code]));
    expect(codes).to.deep.equal({ "GET /function/:name": 2, dispatch: 0, hello: 2, "hello function": 2 });
  });

  it("keeps no span of a trace whose caller keeps none, and tells the function so", async () => {
    const { traceId, spanId } = newTrace();
    const headers = { traceparent: `00-${traceId}-${spanId}-00` };
    const told = (await (await platform.invoke("hello", { headers })).json()) as Told;
    expect(told.traceparent).to.match(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
    const later = newTrace();
    await platform.invoke("hello", { headers: { traceparent: later.traceparent } });
    // Whatever there had been of the first call would have come before.
    await collector.trace(later.traceId, sync("hello"));
    expect(collector.spans().filter((span) => span.traceId === traceId)).to.deep.equal([]);
  });

  it("has the waits, the attempts and the callback of a durable call in one trace", async () => {
    const { traceId, traceparent } = newTrace();
    const id = await accept("hello/flaky", { traceparent, "X-Callback-Url": `${receiver.url}/traced` });
    const twice = ["queue hello.openfaas-fn", "process hello.openfaas-fn", "dispatch", "hello", "hello function"];
    const once = ["POST /async-function/:name", "callback"];
    const spans = await collector.trace(traceId, [...once, ...twice, ...twice]);
    const attempt = [
      "dispatch < process hello.openfaas-fn",
      "hello < process hello.openfaas-fn",
      "hello function < hello",
      "process hello.openfaas-fn < POST /async-function/:name",
      "queue hello.openfaas-fn < POST /async-function/:name",
    ];
    const accepted = ["POST /async-function/:name < the client", "callback < POST /async-function/:name"];
    expect(lineage(spans)).to.deep.equal([...accepted, ...attempt, ...attempt].toSorted());
    for (const [number, status] of [503, 200].entries()) {
      const span = named(spans, "process hello.openfaas-fn", number);
      expect(span.attributes).to.include({ "http.response.status_code": status, "messaging.message.id": id });
      expect(span.status.code).to.equal(status === 200 ? 0 : 2);
    }
    const waits = spans.filter(({ name }) => name === "queue hello.openfaas-fn");
    expect(waits.map(({ attributes }) => Number(attributes["busker.attempt"])).toSorted()).to.deep.equal([1, 2]);
    const told = await eventually("the callback", () => receiver.received.all.find(({ path }) => path === "/traced"));
    expect(told.headers["traceparent"]).to.equal(`00-${traceId}-${named(spans, "callback").spanId}-01`);
    expect(named(spans, "callback").attributes).to.include({ "http.response.status_code": 200 });
  });

  it("has a chain in one trace, each call caused by the outcome before it", async () => {
    const { traceId, traceparent } = newTrace();
    await accept("first", { traceparent });
    const spans = await collector.trace(traceId, ["chain second.openfaas-fn", "process second.openfaas-fn", "second"]);
    expect(lineage(spans)).to.include.members([
      "chain second.openfaas-fn < POST /async-function/:name",
      "queue second.openfaas-fn < chain second.openfaas-fn",
      "process second.openfaas-fn < chain second.openfaas-fn",
      "second < process second.openfaas-fn",
    ]);
  });

  it("takes the trace of an event that anybody puts at a function's door", async () => {
    const { traceId, spanId, traceparent } = newTrace();
    const bus = await openBus({
      url: platform.natsUrl,
      credentialsFile: `${platform.dataFolder}/creds/admin.creds`,
      user: "admin",
      name: "test",
    });
    try {
      const block = createHeaders();
      block.set("ce-traceparent", traceparent);
      bus.nc.publish("busker.async.openfaas-fn.hello", "a", { headers: block });
      const names = ["accept hello.openfaas-fn", "process hello.openfaas-fn", "hello", "hello function"];
      const spans = await collector.trace(traceId, names);
      expect(named(spans, "accept hello.openfaas-fn").parentSpanId).to.equal(spanId);
      expect(lineage(spans)).to.include("process hello.openfaas-fn < accept hello.openfaas-fn");
    } finally {
      await bus.close();
    }
  });

  it("begins a trace with a replay, linked to the one of the call that is run again", async () => {
    const { traceId, traceparent } = newTrace();
    const id = await accept("hello", { traceparent });
    await collector.trace(traceId, ["process hello.openfaas-fn"]);
    const replay = await eventually("the call is over", async () => {
      const response = await platform.api("POST", `/system/calls/${id}/replay`);
      return response.ok ? ((await response.json()) as { readonly id: string }) : undefined;
    });
    const span = await eventually("the span of the replay", () =>
      collector.spans().find((each) => each.links.some((link) => link.traceId === traceId)),
    );
    expect(span).to.include({ name: "replay hello.openfaas-fn" });
    expect(span.attributes).to.include({ "faas.invocation.id": replay.id });
    const spans = await collector.trace(span.traceId, ["process hello.openfaas-fn", "hello"]);
    expect(lineage(spans)).to.include("process hello.openfaas-fn < replay hello.openfaas-fn");
  });

  it("has a stream in a trace until its end", async () => {
    const { traceId, traceparent } = newTrace();
    const response = await platform.invoke("hello/events", { headers: { traceparent } });
    expect(await response.text()).to.equal("data: 0\n\ndata: 1\n\ndata: 2\n\n");
    const spans = await collector.trace(traceId, sync("hello"));
    expect(lineage(spans)).to.deep.equal(syncLineage("hello", "the client"));
    for (const name of ["GET /function/:name", "hello", "hello function"]) {
      const { startTimeUnixNano, endTimeUnixNano } = named(spans, name);
      // The function takes 60 ms for its three events; its head had gone out at once.
      expect(Number(BigInt(endTimeUnixNano) - BigInt(startTimeUnixNano)) / 1e6, name).to.be.at.least(40);
    }
  });

  it("has a WebSocket in a trace until it is closed", async () => {
    const { traceId, traceparent } = newTrace();
    const client = await openWebSocket({
      url: `${platform.url}/function/ws`,
      headers: [`traceparent: ${traceparent}`],
    });
    expect(client.status).to.equal(101);
    expect(collector.spans().some((span) => span.traceId === traceId)).to.equal(false);
    client.socket.destroy();
    await client.closed;
    const spans = await collector.trace(traceId, sync("ws"));
    expect(lineage(spans)).to.deep.equal(syncLineage("ws", "the client"));
  });
});

describe("traces without a collector", function () {
  this.timeout(60_000);

  it("hold up no call, and no stop", async () => {
    const away = await startCollector();
    await away.stop();
    const platform = await startTestPlatform({ OTEL_EXPORTER_OTLP_ENDPOINT: away.url, OTEL_BSP_SCHEDULE_DELAY: "50" });
    try {
      await deploy(platform, "hello");
      for (let at = 0; at < 200; at += 1) expect((await platform.invoke("hello")).status).to.equal(200);
    } finally {
      expect(await platform.stop()).to.equal(0);
    }
  });

  it("leave functions without a trace where no endpoint is set, but for their clients' own", async () => {
    const platform = await startTestPlatform();
    try {
      await deploy(platform, "hello");
      expect(await (await platform.invoke("hello")).json()).to.deep.equal({});
      const { traceparent } = newTrace();
      const response = await platform.invoke("hello", { headers: { traceparent, tracestate: "a=1" } });
      expect(await response.json()).to.deep.equal({ traceparent, tracestate: "a=1" });
    } finally {
      expect(await platform.stop()).to.equal(0);
    }
  });
});

describe("traces of containers", function () {
  this.timeout(180_000);

  it("come over the bus, because a container need not reach a collector", async () => {
    const engine = await startTestEngine();
    const collector = await startCollector();
    let platform: TestPlatform | undefined;
    try {
      await makeImage(engine.docker, { name: "test/busybox", files: busyboxFiles, changes: ["CMD cat"] });
      platform = await startTestPlatform({
        BUSKER_BACKEND: "docker",
        BUSKER_IMAGE_PULL_POLICY: "Never",
        DOCKER_HOST: `unix://${engine.socket}`,
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      });
      const wish = { service: "copy", image: "test/busybox:1", envVars: { mode: "streaming" } };
      const deployed = await platform.api("POST", "/system/functions", wish);
      expect(deployed.status, await deployed.text()).to.equal(202);
      const { traceId, traceparent } = newTrace();
      const response = await platform.invoke("copy", { method: "POST", body: "a", headers: { traceparent } });
      expect(await response.text()).to.equal("a");
      const names = ["POST /function/:name", "dispatch", "copy", "copy function"];
      const spans = await collector.trace(traceId, names);
      expect(lineage(spans)).to.include.members(["copy < POST /function/:name", "copy function < copy"]);
    } finally {
      await platform?.stop();
      await collector.stop();
      await engine.stop();
    }
  });
});
