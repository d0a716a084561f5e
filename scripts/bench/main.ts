import { benchContainers } from "./containers.ts";
import { benchDispatch } from "./dispatch.ts";
import { describeMachine } from "./machine.ts";
import { benchDurable } from "./durable.ts";
import { benchPaths } from "./paths.ts";
import { benchFromZero, benchMemory } from "./standing.ts";
import { benchScaling } from "./scaling.ts";
import { benchStreams } from "./streams.ts";
import { printTable } from "./table.ts";

/*
 * npm run bench [-- PART ...]: paths, streams, dispatch, zero, memory, containers, durable, scaling; all without a part. Nothing else should run meanwhile:
 * compare ratios, and repeat.
 */

const quick = process.env["BENCH_QUICK"] === "1";

const dispatch = async (): Promise<void> => {
  for (const load of quick ? [0.8] : [0.5, 0.8, 0.9]) {
    const results = await benchDispatch(quick ? 1500 : 6000, load);
    printTable(
      `Who gets the call: 8 replicas, one call at a time, exponential service of 20 ms mean, load ${load * 100} %`,
      ["way", "n", "p50 ms", "p95 ms", "p99 ms", "messages per call"],
      results.map((line) => [line.title, line.n, line.p50, line.p95, line.p99, line.messagesPerCall]),
    );
    const [one, three, random] = results;
    if (one && three && random)
      console.log(
        `\np99: one caller ${(one.p99 / random.p99).toFixed(2)} of random choice (at most 0.4 at 80 %); ` +
          `three callers ${(three.p99 / one.p99).toFixed(2)} of one (at most 1.2), ` +
          `${three.messagesPerCall.toFixed(2)} messages a call (under 6)`,
      );
  }
};

const parts: Readonly<Record<string, () => Promise<void>>> = {
  paths: () => benchPaths(quick ? 3 : 8, quick ? 1 : 3),
  streams: () => benchStreams(quick),
  dispatch,
  zero: () => benchFromZero(quick ? 20 : 100),
  memory: benchMemory,
  containers: () => benchContainers(quick),
  durable: () => benchDurable(quick),
  scaling: () => benchScaling(quick),
};

const asked = process.argv.slice(2);
const unknown = asked.filter((part) => !Object.hasOwn(parts, part));
if (unknown.length > 0) {
  console.error(`there is no part ${unknown.join(", ")}; parts are ${Object.keys(parts).join(", ")}`);
  process.exit(2);
}
for (const line of describeMachine()) console.log(line);
for (const [name, run] of Object.entries(parts)) if (asked.length === 0 || asked.includes(name)) await run();
process.exit(0);
