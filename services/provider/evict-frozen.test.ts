import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { isMemoryShort, relieveMemory } from "./evict-frozen.ts";
import { FunctionState, type ReplicaView } from "./function-state.ts";
import { viewOf } from "./replica-set.ts";

const meminfo = (availableKb: number): string =>
  `MemTotal:        1000000 kB\nMemFree:          900000 kB\nMemAvailable:   ${availableKb} kB\n`;

const replicaOf = (id: string, sinceMs: number, more: Partial<ReplicaView> = {}): ReplicaView => ({
  ...viewOf({
    namespace: "openfaas-fn",
    name: "f",
    id,
    revision: "r",
    timeoutMs: 1000,
    startedMs: 0,
    stopping: false,
    frozen: true,
  }),
  sinceMs,
  ...more,
});

describe("isMemoryShort()", () => {
  for (const [text, reservePercent, isShort] of [
    [meminfo(99_999), 10, true],
    [meminfo(100_000), 10, false],
    [meminfo(999_999), 100, true],
    [meminfo(0), 0, false],
    ["", 10, false],
    ["MemTotal: lots", 10, false],
  ] as const)
    it(`is ${isShort} for ${JSON.stringify(text)} where ${reservePercent} % are to be kept`, () => {
      expect(isMemoryShort(text, reservePercent)).to.equal(isShort);
    });
});

describe("relieveMemory()", () => {
  let folder: string;
  const states = (): FunctionState[] => {
    const [a, b] = ["a", "b"].map((name) => new FunctionState({ namespace: "openfaas-fn", name }));
    if (!a || !b) throw new Error("two are made");
    a.add(replicaOf("a1", 300));
    a.add(replicaOf("a2", 50, { state: "ready", asleep: false }));
    a.add(replicaOf("a3", 60, { stopping: true }));
    b.add(replicaOf("b1", 200));
    return [a, b];
  };
  const relieve = async (text: string, all: readonly FunctionState[]): Promise<string | undefined> => {
    const file = join(folder, "meminfo");
    await writeFile(file, text);
    return (await relieveMemory({ all: () => all, reconcile: () => {}, reservePercent: 10, file }))?.key;
  };
  const evicted = (all: readonly FunctionState[]): readonly string[] =>
    all.flatMap(({ replicas }) => replicas.filter((replica) => replica.evicted).map(({ id }) => id));

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker-memory-"));
  });
  after(() => rm(folder, { recursive: true }));

  it("ends the replica that has slept longest, then the next, and none that is awake", async () => {
    const all = states();
    expect(await relieve(meminfo(50_000), all)).to.equal("b.openfaas-fn");
    expect(evicted(all)).to.deep.equal(["b1"]);
    expect(await relieve(meminfo(50_000), all)).to.equal("a.openfaas-fn");
    expect(await relieve(meminfo(50_000), all)).to.equal(undefined);
    expect(evicted(all)).to.deep.equal(["a1", "b1"]);
  });

  it("ends none while there is memory, or nobody says how much", async () => {
    const all = states();
    expect([await relieve(meminfo(500_000), all), await relieve("", all)]).to.deep.equal([undefined, undefined]);
    expect(evicted(all)).to.deep.equal([]);
  });
});
