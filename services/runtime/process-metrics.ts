import { performance } from "node:perf_hooks";
import { addFamily, type Registry } from "./metrics.ts";

/**
 * Adds what this process uses, under the names that Prometheus' client libraries have for it. prom-client's own default
 * metrics would measure the event loop and collections of garbage all the time; these cost nothing until somebody scrapes.
 */
export const addProcessMetrics = (registry: Registry): void => {
  const startedAt = performance.timeOrigin / 1000;
  const add = (name: string, help: string, type: "counter" | "gauge", value: () => number): void =>
    addFamily(registry, { name, help, type, collect: () => [{ labels: {}, value: value() }] });
  add("process_start_time_seconds", "When this process began, in Unix seconds", "gauge", () => startedAt);
  add("process_resident_memory_bytes", "Resident memory of this process", "gauge", () => process.memoryUsage.rss());
  add("process_cpu_seconds_total", "CPU of this process", "counter", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  add(
    "busker_event_loop_busy_seconds_total",
    "Time in which this process' event loop had work",
    "counter",
    () => performance.eventLoopUtilization().active / 1000,
  );
};
