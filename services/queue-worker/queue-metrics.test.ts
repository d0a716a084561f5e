import { expect } from "chai";
import type { Delivery } from "./delivery.ts";
import { createQueueMetrics } from "./queue-metrics.ts";

const fn = { namespace: "openfaas-fn", name: "fn" };
const other = { namespace: "openfaas-fn", name: "other" };

describe("createQueueMetrics()", () => {
  const known = new Set([fn, other]);

  it("counts attempts, retries and ends, and how long calls waited, by function", async () => {
    const metrics = createQueueMetrics((name) => known.has(name));
    metrics.bound(fn, 30);
    metrics.attempted(fn, "retry");
    metrics.attempted(fn, "succeeded");
    metrics.ended(fn, "succeeded");
    metrics.ended(other, "dead");
    const text = await metrics.registry.metrics();
    expect(text).to.include('busker_queue_wait_seconds_bucket{le="0.05",function_name="fn.openfaas-fn"} 1');
    expect(text).to.include('busker_queue_wait_seconds_bucket{le="0.02",function_name="fn.openfaas-fn"} 0');
    expect(text).to.include('busker_queue_attempts_total{function_name="fn.openfaas-fn"} 2');
    expect(text).to.include('busker_queue_retries_total{function_name="fn.openfaas-fn"} 1');
    expect(text).to.include('busker_queue_succeeded_total{function_name="fn.openfaas-fn"} 1');
    expect(text).to.include('busker_queue_dead_total{function_name="other.openfaas-fn"} 1');
  });

  it("shows what waits, since when, and what is in hand", async () => {
    const metrics = createQueueMetrics((name) => known.has(name));
    metrics.observe(() => new Map([["fn.openfaas-fn", { messages: 7, oldestMs: Date.now() - 60_000, due: 1 }]]));
    let end: () => void = () => {};
    const run = metrics.counted(() => new Promise((resolve) => (end = () => resolve({ kind: "done" }))));
    const delivery = { call: { function: fn } } as unknown as Delivery;
    const running = run(delivery, new AbortController().signal);
    const during = await metrics.registry.metrics();
    expect(during).to.include('busker_queue_depth{function_name="fn.openfaas-fn"} 7');
    expect(during).to.match(/busker_queue_oldest_seconds\{function_name="fn.openfaas-fn"\} 6\d/);
    expect(during).to.include('busker_queue_in_flight{function_name="fn.openfaas-fn"} 1');
    end();
    await running;
    expect(await metrics.registry.metrics()).not.to.include("busker_queue_in_flight{");
  });

  it("forgets a function that is removed, and no other", async () => {
    const metrics = createQueueMetrics((name) => known.has(name));
    for (const name of [fn, other]) {
      metrics.bound(name, 1);
      metrics.attempted(name, "succeeded");
      metrics.ended(name, "succeeded");
      metrics.ended(name, "dead");
    }
    known.delete(fn);
    metrics.forget(fn);
    // A call of it that was left ends now.
    metrics.ended(fn, "dead");
    const text = await metrics.registry.metrics();
    expect(text).not.to.include('"fn.openfaas-fn"');
    expect(text).to.include('busker_queue_succeeded_total{function_name="other.openfaas-fn"} 1');
  });
});
