import { randomUUID } from "node:crypto";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CallRecord, RecordState } from "../schemas/call.ts";
import { isFinal } from "../schemas/call.ts";
import { queueAnyFilter, resultAnyFilter } from "../schemas/subjects.ts";
import { decodeRecord } from "../services/bus/call-record-wire.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Durable calls while everything dies, with real kills: numbered calls flow, and the queue-worker, nats-server, the gateway,
 * the provider and the replicas are killed and come back. Afterwards every call that was accepted has exactly one end.
 * BUSKER_FAULT_CALLS says how many calls; as many as a minute allows where absent.
 */

// Appends the number of each call to a file of its replica's own, so that it is known what ran, and how often.
const handler = `
import { appendFileSync } from "node:fs";
const file = process.env.LEDGER + "/" + process.pid;
export default async ({ body, path }, context) => {
  appendFileSync(file, body + "\\n");
  if (path === "/wrong") return context.status(400).succeed("wrong");
  return "did " + body;
};
`;

const calls = Number(process.env["BUSKER_FAULT_CALLS"] ?? 2000);
const senders = 16;

type Victim = "queue-worker/main.js" | "nats.conf" | "gateway/main.js" | "provider/main.js" | "watchdog.mjs";

const victims: readonly Victim[] = [
  "queue-worker/main.js",
  "nats.conf",
  "gateway/main.js",
  "provider/main.js",
  "watchdog.mjs",
];

/** Two or more of them. */
const randomMixture = (): readonly Victim[] =>
  victims.toSorted(() => Math.random() - 0.5).slice(0, 2 + Math.floor(Math.random() * 3));

describe("durable calls while everything dies", function () {
  this.timeout(Math.max(150_000, calls * 60));
  let platform: TestPlatform;
  let bus: Bus;
  let ledger: string;
  /** Ids that were acknowledged with 202. */
  const accepted = new Map<string, number>();
  let offered = 0;
  let refusals = 0;

  before(async function () {
    this.timeout(60_000);
    ledger = await mkdtemp(join(tmpdir(), "busker-ledger-"));
    platform = await startTestPlatform();
    bus = await openBus({
      url: platform.natsUrl,
      credentialsFile: `${platform.dataFolder}/creds/admin.creds`,
      user: "admin",
      name: "admin",
    });
    const annotations = {
      "com.openfaas.retry.attempts": "100",
      "com.openfaas.retry.min_wait": "100ms",
      "com.openfaas.retry.max_wait": "500ms",
    };
    const response = await platform.deploy({
      name: "fn",
      code: { "handler.mjs": handler },
      envVars: { mode: "handler", handler: "handler.mjs", max_inflight: "20", LEDGER: ledger },
      more: { annotations, labels: { "com.openfaas.scale.min": "4" } },
    });
    expect(response.status, await response.text()).to.equal(202);
  });

  after(async () => {
    await bus?.close();
    expect(await platform?.stop()).to.equal(0);
    await rm(ledger, { recursive: true, force: true });
  });

  /** Offers one call until it is accepted: an answer that never came may have been an acceptance, so its id stays. */
  const offer = async (number: number): Promise<void> => {
    const id = randomUUID();
    const path = number % 50 === 0 ? "/wrong" : "";
    for (;;) {
      const response = await fetch(`${platform.url}/async-function/fn${path}`, {
        method: "POST",
        headers: { "X-Call-Id": id },
        body: String(number),
        signal: AbortSignal.timeout(10_000),
      }).catch(() => undefined);
      await response?.arrayBuffer().catch(() => undefined);
      if (response?.status === 202) break;
      if (response && response.status < 500) expect.fail(`call ${number} was refused with ${response.status}`);
      refusals += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    accepted.set(id, number);
  };

  const send = async (): Promise<void> => {
    while (offered < calls) await offer((offered += 1));
  };

  const kill = (victim: Victim): void => {
    const pids = platform.pids(victim);
    const chosen = victim === "watchdog.mjs" ? pids.filter((_, at) => at % 2 === 0) : pids;
    for (const pid of chosen) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
  };

  /** Everything that was killed is there again. */
  const untilBack = (victim: Victim): Promise<unknown> =>
    eventually(`${victim} is back`, () => platform.pids(victim).length > 0 || undefined, 20_000);

  const untilOffered = (count: number): Promise<unknown> =>
    eventually(`${count} calls are accepted`, () => accepted.size >= count || undefined, 60_000);

  const cancelSome = async (): Promise<void> => {
    for (const id of [...accepted.keys()].slice(-5))
      await fetch(`${platform.url}/async-function/${id}`, { method: "DELETE" }).catch(() => undefined);
  };

  const waiting = async (): Promise<number> => {
    const manager = await jetstreamManager(bus.nc, { checkAPI: false });
    const { state } = await manager.streams.info("INVOCATIONS", { subjects_filter: queueAnyFilter });
    return state.messages;
  };

  /** What there is to see when calls do not end. */
  const describeQueue = async (): Promise<string> => {
    const manager = await jetstreamManager(bus.nc, { checkAPI: false });
    const lines = [JSON.stringify((await manager.streams.info("INVOCATIONS")).state)];
    for await (const info of manager.consumers.list("INVOCATIONS")) lines.push(JSON.stringify(info));
    for (const record of (await readRecords()).values()) if (!isFinal(record.state)) lines.push(JSON.stringify(record));
    const port = /queue-worker \| ready metricsPort=(\d+)/.exec(platform.output())?.[1];
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    lines.push(...metrics.split("\n").filter((line) => /^busker_queue_(in_flight|depth)\{/.test(line)));
    return lines.slice(-10).join("\n");
  };

  const readRecords = async (): Promise<ReadonlyMap<string, CallRecord>> => {
    const { direct } = await jetstreamManager(bus.nc, { checkAPI: false });
    const records = new Map<string, CallRecord>();
    for (let seq = 1; ;) {
      const message = await direct.getMessage("RESULTS", { seq, next_by_subj: resultAnyFilter }).catch(() => null);
      if (!message) return records;
      const { record } = decodeRecord({ data: message.data, headers: message.header });
      records.set(record.id, record);
      seq = message.seq + 1;
    }
  };

  /** Ids of the calls whose end stream CALLS tells, as often as it does. */
  const readEnds = async (): Promise<readonly string[]> => {
    const consumer = await jetstream(bus.nc).consumers.get("CALLS");
    const ends: string[] = [];
    for (let { num_pending: count } = await consumer.info(); count > 0; count -= 1) {
      const message = await consumer.next({ expires: 5000 });
      const state = message?.subject.split(".")[2] as RecordState | undefined;
      if (message && state && isFinal(state)) ends.push(message.json<{ readonly id: string }>().id);
    }
    return ends;
  };

  /** How often each number ran. */
  const readLedger = (): ReadonlyMap<number, number> => {
    const runs = new Map<number, number>();
    for (const file of readdirSync(ledger))
      for (const line of readFileSync(join(ledger, file), "utf8").split("\n"))
        if (line !== "") runs.set(Number(line), (runs.get(Number(line)) ?? 0) + 1);
    return runs;
  };

  it("gives every call that was accepted exactly one end", async () => {
    const sending = Promise.all(Array.from({ length: senders }, send));
    const randoms = Array.from({ length: Math.max(4, Math.floor(calls / 400)) }, randomMixture);
    const mixtures = [...victims.map((victim) => [victim]), ...randoms];
    const perRound = Math.floor(calls / (mixtures.length + 1));
    for (const [round, mixture] of mixtures.entries()) {
      await untilOffered(perRound * (round + 1));
      if (round % 3 === 0) await cancelSome();
      for (const victim of mixture) kill(victim);
      for (const victim of mixture) await untilBack(victim);
    }
    await sending;
    await eventually(
      "nothing waits any more",
      async () => ((await waiting().catch(() => 1)) === 0 ? true : undefined),
      90_000,
    ).catch(async (error: unknown) => {
      throw new Error(
        `${String(error)}\n${await describeQueue()}\n${platform.output().split("\n").slice(-40).join("\n")}`,
      );
    });

    const records = await readRecords();
    const runs = readLedger();
    const states = new Map<string, number>();
    for (const [id, number] of accepted) {
      const record = records.get(id);
      if (!record) expect.fail(`call ${number} has no record`);
      expect(isFinal(record.state), `call ${number} is ${record.state}`).to.equal(true);
      if (record.state === "succeeded") expect(runs.get(number) ?? 0, `call ${number} ran`).to.be.greaterThan(0);
      expect(record.state === "dead", `call ${number} is ${record.state}`).to.equal(
        record.state !== "cancelled" && number % 50 === 0,
      );
      states.set(record.state, (states.get(record.state) ?? 0) + 1);
    }
    const sum = [...states.values()].reduce((all, count) => all + count, 0);
    const repeated = [...runs.values()].filter((count) => count > 1).length;
    console.log(
      `      offered ${offered}, accepted ${accepted.size}, ${[...states].map(([state, count]) => `${state} ${count}`).join(", ")}; ` +
        `ran more than once ${repeated}; attempts to offer that failed ${refusals}`,
    );
    expect(accepted.size).to.equal(calls);
    expect(sum).to.equal(accepted.size);
    expect(records.size, "no call has a record that was not accepted").to.equal(accepted.size);
    const ends = await readEnds();
    expect(new Set(ends).size, "no end is told twice").to.equal(ends.length);
    for (const id of accepted.keys()) expect(ends.includes(id), `the end of ${id} is told`).to.equal(true);
  });
});
