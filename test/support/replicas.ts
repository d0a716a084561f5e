import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ReplicaLaunch } from "../../schemas/launch.ts";
import type { FunctionName } from "../../schemas/names.ts";
import type { SamplingPolicy } from "../../schemas/span.ts";
import { type Bus, openBus } from "../../services/bus/connection.ts";
import type { Invocation } from "../../services/bus/invoker.ts";
import { mintFunctionUser } from "../../services/bus/mint.ts";
import type { Mode } from "../../watchdog/mode.ts";
import { createReplica, type Replica } from "../../watchdog/replica.ts";
import { createReporter } from "../../watchdog/reporter.ts";
import type { TestNats } from "./nats.ts";

/** A real replica on a real server whose function is a mode of the test's own. */
export interface TestReplica {
  readonly id: string;
  readonly bus: Bus;
  readonly replica: Replica;
  /** Cuts its connection in mid-work, as a crash does. */
  readonly crash: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** What a test replica is made of. */
export interface TestReplicaOptions {
  readonly nats: TestNats;
  readonly function: FunctionName;
  readonly id: string;
  readonly slots: number;
  readonly mode: Mode;
  readonly timeoutMs?: number;
  /** Its function has the annotation `com.busker.record: bodies`. */
  readonly recordsBodies?: true;
  /** Its function has the annotation `com.busker.record: none`. */
  readonly recordsNothing?: true;
  /** Tracing is on. */
  readonly traces?: SamplingPolicy;
}

const noUsage = { usage: () => ({ cpuSeconds: 0, memoryBytes: 0, rootMemoryBytes: 0 }) };

/** Opens one with credentials of its own; resolves when it has announced itself. */
export const openTestReplica = async (options: TestReplicaOptions): Promise<TestReplica> => {
  const { nats, id, slots, mode, timeoutMs = 60_000 } = options;
  const { namespace, name } = options.function;
  const folder = mkdtempSync(join(tmpdir(), "busker-replica-"));
  const credentialsFile = join(folder, "creds");
  const credentials = await mintFunctionUser({
    signer: nats.trust.signer,
    namespace,
    name,
    replica: id,
    ttlMs: 3_600_000,
  });
  writeFileSync(credentialsFile, credentials, { mode: 0o600 });
  const launch: ReplicaLaunch = {
    replica: id,
    namespace,
    name,
    revision: "test",
    natsUrl: nats.url,
    credentialsFile,
    timeoutMs,
    cwd: folder,
    env: {},
    ...(options.recordsBodies ? { recordsBodies: true } : {}),
    ...(options.recordsNothing ? { recordsNothing: true } : {}),
    ...(options.traces ? { traces: options.traces } : {}),
  };
  const bus = await openBus({ url: nats.url, credentialsFile, user: id, name: id });
  const format = { prefixLogs: false, logCallId: false, mode: "http" } as const;
  const reporter = createReporter(bus, launch, { inFlight: () => replica.inFlight(), slots, format }, noUsage);
  let crashed = false;
  const mortal: Mode = {
    ...mode,
    begin: (call, finish) => mode.begin(call, (answer) => crashed || finish(answer)),
  };
  const replica = createReplica({ bus, launch, mode: mortal, slots, reporter, readyPath: "", onDrain: () => {} });
  await replica.open();
  const end = async (): Promise<void> => {
    reporter.stop();
    await bus.nc.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    id,
    bus,
    replica,
    crash: () => {
      crashed = true;
      return end();
    },
    close: async () => {
      await replica.drain(0);
      replica.announce("exited");
      await bus.nc.flush();
      await end();
    },
  };
};

/** A mode whose calls take what `lengthMs` says, and answer with `answer`. */
export const timerMode = (
  lengthMs: () => number,
  answer: (body: Uint8Array) => Uint8Array | string = () => "",
): Mode => ({
  start: async () => {},
  begin: (call, finish) => {
    const timer = setTimeout(() => finish({ status: 200, headers: [], body: answer(call.body) }), lengthMs());
    return (cause) => {
      clearTimeout(timer);
      finish({
        status: cause === "deadline" ? 504 : 499,
        headers: [],
        body: "",
        error: cause === "deadline" ? "deadline_exceeded" : "cancelled",
      });
    };
  },
  stop: async () => {},
});

/** An invocation of a function with a body, a minute long at most. */
export const invocationOf = (name: FunctionName, body = "", timeoutMs = 60_000): Invocation => ({
  function: name,
  callId: randomUUID(),
  head: { method: "POST", path: "/", headers: [] },
  body: Buffer.from(body),
  deadlineMs: Date.now() + timeoutMs,
});
