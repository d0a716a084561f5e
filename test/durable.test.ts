import { expect } from "chai";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Durable calls through a whole platform: accepted at the gateway or at the door, run by the queue-worker, and known by
 * their ids.
 */

// Answers the second time that it is called.
const second = `
let calls = 0;
export default async () => ((calls += 1) > 1 ? "second time" : new Promise(() => {}));
`;

const handler = `
let tries = 0;
export default async (event, context) => {
  const { path } = event;
  if (path === "/echo") return context.status(201).headers({ "X-Retry-Seen": event.headers["x-retry"] ?? "none" }).succeed(event.body);
  if (path === "/flaky") return (tries += 1) < 3 ? context.status(500).succeed("not yet") : context.succeed("after " + tries);
  if (path === "/wrong") return context.status(422).succeed("wrong");
  if (path === "/slow") return new Promise(() => {});
  return "fine";
};
`;

interface CallView {
  readonly id: string;
  readonly state: string;
  readonly attempts: readonly { readonly number: number; readonly status?: number }[];
  readonly response?: { readonly status: number; readonly body?: string };
  readonly error?: { readonly code: string; readonly message: string };
}

describe("durable calls", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  const later = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${platform.url}/async-function/${path}`, { method: "POST", ...init });
  const accept = async (path: string, init: RequestInit = {}): Promise<string> => {
    const response = await later(path, init);
    expect(response.status, await response.text()).to.equal(202);
    return response.headers.get("x-call-id") ?? "";
  };
  const outcome = async (id: string): Promise<CallView> => {
    const response = await fetch(`${platform.url}/async-function/${id}?wait=20s`);
    return (await response.json()) as CallView;
  };
  const queueMetrics = async (): Promise<string> => {
    const [, port] = /queue-worker \| ready metricsPort=(\d+)/.exec(platform.output()) ?? [];
    return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  };

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    const annotations = { "com.openfaas.retry.min_wait": "50ms", "com.openfaas.retry.max_wait": "100ms" };
    const envVars = { mode: "handler", handler: "handler.mjs" };
    const twice = { ...annotations, "com.openfaas.retry.attempts": "2" };
    for (const fn of [
      { name: "fn", code: { "handler.mjs": handler }, envVars, more: { annotations } },
      { name: "bytes", code: { "cat.sh": "cat" }, envVars: { fprocess: "cat" } },
      { name: "second", code: { "handler.mjs": second }, envVars, more: { annotations } },
      {
        name: "crash",
        code: { "handler.mjs": "export default () => process.exit(7);" },
        envVars,
        more: { annotations: twice },
      },
    ]) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
  });

  after(async () => {
    expect(await platform?.stop()).to.equal(0);
  });

  it("runs what was accepted, and keeps the response", async () => {
    const call = await outcome(await accept("fn/echo", { body: "hello" }));
    expect(call).to.deep.include({ state: "succeeded" });
    expect(call.response).to.deep.include({ status: 201, body: "hello" });
    expect(call.attempts).to.have.length(1);
  });

  it("tries again what fails", async () => {
    const call = await outcome(await accept("fn/flaky"));
    expect(call.state).to.equal("succeeded");
    expect(call.attempts.map(({ status }) => status)).to.deep.equal([500, 500, 200]);
    expect(call.response?.body).to.equal("after 3");
  });

  it("buries what is wrong", async () => {
    const call = await outcome(await accept("fn/wrong"));
    expect(call).to.deep.include({ state: "dead" });
    expect(call.response).to.deep.include({ status: 422, body: "wrong" });
    expect(call.error?.message).to.equal("the function answered 422");
  });

  it("stops what is cancelled", async () => {
    const id = await accept("fn/slow");
    await eventually("it is running", async () => {
      const call = (await (await fetch(`${platform.url}/async-function/${id}`)).json()) as CallView;
      return call.state === "running" || undefined;
    });
    expect((await fetch(`${platform.url}/async-function/${id}`, { method: "DELETE" })).status).to.equal(202);
    expect((await outcome(id)).state).to.equal("cancelled");
  });

  it("keeps bytes that are no text", async () => {
    const body = Buffer.from([0xff, 0xfe, 0x00, 0x80]);
    const id = await accept("bytes", { body });
    expect((await outcome(id)).state).to.equal("succeeded");
    const response = await fetch(`${platform.url}/async-function/${id}/response`);
    expect(Buffer.from(await response.arrayBuffer()).equals(body)).to.equal(true);
  });

  it("buries a call that ends its replica each time, while others go on", async () => {
    const poison = await accept("crash");
    const others = await Promise.all(Array.from({ length: 20 }, () => accept("fn/echo", { body: "other" })));
    for (const id of others) expect((await outcome(id)).state).to.equal("succeeded");
    const call = await outcome(poison);
    expect(call).to.deep.include({ state: "dead" });
    expect(call.error?.code).to.equal("replica_lost");
    expect(call.attempts).to.have.length(2);
  });

  it("counts, by function, and forgets a function that is removed", async () => {
    const text = await eventually("nothing waits any more", async () => {
      const metrics = await queueMetrics();
      return /^busker_queue_depth\{/m.test(metrics) ? undefined : metrics;
    });
    expect(text).to.match(/busker_queue_succeeded_total\{function_name="fn.openfaas-fn"\} \d/);
    expect(text).to.match(/busker_queue_retries_total\{function_name="fn.openfaas-fn"\} 2/);
    expect(text).to.match(/busker_queue_dead_total\{function_name="fn.openfaas-fn"\} 1/);
    expect(text).to.match(/busker_queue_wait_seconds_count\{function_name="fn.openfaas-fn"\} \d/);
    await platform.api("DELETE", "/system/functions", { functionName: "fn" });
    await eventually(
      "its series are gone",
      async () => !(await queueMetrics()).includes("fn.openfaas-fn") || undefined,
    );
  });

  it("hands a call over when its queue-worker is killed, and says that an attempt has no end", async () => {
    const id = await accept("second");
    await eventually("it is running", async () => {
      const call = (await (await fetch(`${platform.url}/async-function/${id}`)).json()) as CallView;
      return call.state === "running" || undefined;
    });
    for (const pid of platform.pids("queue-worker/main.js")) process.kill(pid, "SIGKILL");
    const call = await outcome(id);
    expect(call.state).to.equal("succeeded");
    expect(call.response?.body).to.equal("second time");
    expect(call.attempts.map(({ status }) => status)).to.deep.equal([undefined, 200]);
  });
});
