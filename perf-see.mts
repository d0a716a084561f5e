import { startTestNats } from "/work/see/test/support/nats.ts";
import { openCallsWorld } from "/work/see/services/gateway/fixtures/open-calls.ts";
import { publishEvent } from "/work/see/services/bus/events.ts";
import { callSubject } from "/work/see/schemas/subjects.ts";
const nats = await startTestNats();
const world = await openCallsWorld(nats, []);
const bus = world.admin;
const N = 1_000_000;
const t = Date.now();
const states = ["queued", "started", "succeeded"] as const;
for (let i = 0; i < N; i++) {
  const s = states[i % 3]!;
  const id = `0b0f1c5e-1111-2222-3333-${String(Math.floor(i / 3)).padStart(12, "0")}`;
  const fn = i % 100000 < 3 ? "rare" : `f${Math.floor(i / 3) % 50}`;
  publishEvent(bus, {
    subject: callSubject(s, "openfaas-fn", fn),
    type: `io.busker.call.${s}`,
    id: `${id}.${s}`,
    data: { id, atMs: Date.now(), attempts: 1, durationMs: 3, status: 200 },
  });
  if (i % 500 === 0)
    publishEvent(bus, {
      subject: callSubject("done", "openfaas-fn", fn),
      type: "io.busker.call.done",
      data: {
        replica: "r",
        calls: Array.from({ length: 250 }, (_, k) => ({
          id: `s-${i}-${k}`,
          status: 200,
          startedMs: Date.now(),
          durationMs: 2,
        })),
      },
    });
  if (i % 5000 === 4999) await bus.nc.flush();
}
await bus.nc.flush();
console.log("published", Date.now() - t, "ms");
for (const q of [
  "",
  "kind=durable",
  "kind=sync",
  "function=f7",
  "function=rare",
  "function=none",
  "state=dead",
  "state=running&kind=durable",
  "state=succeeded&limit=1000",
  "limit=1000",
  "function=f7&limit=1000",
  "function=f7&state=succeeded",
  "",
]) {
  const began = Date.now();
  const r = (await (await world.api("GET", `/system/calls?${q}`)).json()) as any;
  console.log(
    q || "(all)",
    r.calls.length,
    "more",
    r.more,
    Date.now() - began,
    "ms",
    (process.memoryUsage().rss / 1e6) | 0,
    "MB",
    r.since,
  );
}
const began = Date.now();
const s = await world.api("GET", "/system/calls/s-998000-7/story");
console.log("story of sync", s.status, Date.now() - began, "ms");
await world.stop();
await nats.stop();
