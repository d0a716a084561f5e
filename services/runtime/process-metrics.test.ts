import { expect } from "chai";
import { Registry, serveMetrics } from "./metrics.ts";
import { addProcessMetrics } from "./process-metrics.ts";

describe("addProcessMetrics()", () => {
  it("tells what this process uses", async () => {
    const registry = new Registry();
    addProcessMetrics(registry);
    const server = await serveMetrics(registry, "127.0.0.1", 0);
    const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
    await server.stop();
    const valueOf = (name: string): number => Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1]);
    expect(valueOf("process_resident_memory_bytes")).to.be.greaterThan(1e6);
    expect(valueOf("process_cpu_seconds_total")).to.be.greaterThan(0.01);
    expect(valueOf("process_start_time_seconds") * 1000).to.be.closeTo(Date.now() - process.uptime() * 1000, 60_000);
    expect(valueOf("busker_event_loop_busy_seconds_total")).to.be.within(0.001, process.uptime());
  });
});
