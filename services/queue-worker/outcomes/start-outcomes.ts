import type { FunctionName } from "../../../schemas/names.ts";
import { stores } from "../../../schemas/topology.ts";
import type { CallAcceptor } from "../../bus/accept-calls.ts";
import type { AcknowledgedPublisher } from "../../bus/acknowledged.ts";
import { readCallbackKey } from "../../bus/callback-key.ts";
import type { CallRecords } from "../../bus/call-records.ts";
import type { Bus } from "../../bus/connection.ts";
import { openForeignPublisher } from "../../bus/foreign-events.ts";
import { openStore } from "../../bus/objects.ts";
import { consumeOutcomes, type TakenOutcome } from "../../bus/outcomes.ts";
import type { PartsReader } from "../../bus/parts-reader.ts";
import type { Disposition } from "../../bus/streams.ts";
import type { Log } from "../../runtime/log.ts";
import type { Tracing } from "../../runtime/tracing.ts";
import { chainCall, type ChainParts } from "./chain-call.ts";
import { createResolve, type Resolve } from "./check-destination.ts";
import { keyFileOf, type OutcomesConfig } from "./config.ts";
import { HostGate } from "./host-gate.ts";
import { findOwnFunction, ownGateways } from "./own-functions.ts";
import { openBodyReader } from "./read-bodies.ts";
import { settleOutcome, type SettleParts, type TellCount } from "./settle-outcome.ts";
import type { TellResult } from "./tell-result.ts";
import { type SubjectTeller, tellSubject } from "./tell-subject.ts";
import { tellUrl, type UrlTeller } from "./tell-url.ts";
import { traceTelling } from "./trace-telling.ts";

/** What telling outcomes needs. */
export interface OutcomesOptions {
  readonly bus: Bus;
  /** A connection of the user `outcomes`: what is published where deployers say goes over it. */
  readonly outcomesBus: Bus;
  readonly acknowledged: AcknowledgedPublisher;
  readonly records: CallRecords;
  readonly acceptor: CallAcceptor;
  readonly parts: PartsReader;
  readonly config: OutcomesConfig;
  readonly log: Log;
  /** How many attempts after the first the calls of a function may have; undefined when it is gone. */
  readonly retriesMax: (name: FunctionName) => number | undefined;
  /** Is told how each try has ended. */
  readonly count: (name: FunctionName, result: TellCount) => void;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** As the machine does, where absent. */
  readonly resolve?: Resolve;
}

const limits = { all: 100, perHost: 8, perSilentHost: 1, waiting: 200, bytes: 64 * 1024 * 1024 };
// So long after a process was killed another tells what it was telling.
const leaseMs = 10_000;

interface Tellers {
  readonly url: UrlTeller;
  readonly subject: SubjectTeller;
  readonly chain: ChainParts;
  readonly gateways: ReadonlySet<string>;
}

const tell = async ({ url, subject, chain, gateways }: Tellers, outcome: TakenOutcome): Promise<TellResult> => {
  const { target } = outcome;
  switch (target.kind) {
    case "function":
      return chainCall(chain, outcome, { function: target.function, path: "/" });
    case "subject":
      return tellSubject(subject, outcome, target.subject);
    case "url": {
      // Over the bus, and not over HTTP: it is as durable as its cause, and no address of the platform need be allowed.
      const own = findOwnFunction(target.url, gateways);
      return own ? chainCall(chain, outcome, own) : tellUrl(url, outcome, target.url);
    }
  }
};

const createTellers = async (options: OutcomesOptions, gate: HostGate, stopping: AbortSignal): Promise<Tellers> => {
  const { bus, config, records, acceptor } = options;
  const payloads = await openStore(bus, stores.payloads);
  const reader = openBodyReader(payloads, options.parts);
  return {
    url: {
      gate,
      allow: config.callbackAllow,
      resolve: options.resolve ?? createResolve(),
      reader,
      key: await readCallbackKey(keyFileOf(config)),
      timeoutMs: config.callbackTimeoutMs,
      retriesMax: ({ whole }) => options.retriesMax(whole.record.function),
      stopping,
    },
    subject: { publish: openForeignPublisher(options.outcomesBus), reader, source: bus.source },
    chain: { acceptor, records, payloads, reader },
    gateways: ownGateways(config.gatewayPort, config.gatewayUrl),
  };
};

/**
 * Tells the outcomes of calls to those who are to be told, each at least once, in any number of processes. What is not taken is tried
 * again for hours, then becomes a dead letter. Rejects while its streams are not there yet, and with `internal` when the key of
 * the signatures cannot be read. Gives a function that stops at once: what is under way is told again by others.
 */
export const startOutcomes = async (options: OutcomesOptions): Promise<() => Promise<void>> => {
  const gate = new HostGate(limits);
  const stopping = new AbortController();
  const tellers = await createTellers(options, gate, stopping.signal);
  const parts: SettleParts = {
    acknowledged: options.acknowledged,
    source: options.bus.source,
    attempts: options.config.callbackAttempts,
    log: options.log,
    count: options.count,
  };
  const handle = async (outcome: TakenOutcome): Promise<Disposition> => {
    const restMs = outcome.dueMs - Date.now();
    if (restMs > 0) return { kind: "retry", delayMs: restMs };
    return settleOutcome(parts, outcome, await traceTelling(options.tracing, outcome, (told) => tell(tellers, told)));
  };
  const stop = await consumeOutcomes(options.bus, { concurrency: gate.capacity, leaseMs }, handle);
  return async () => {
    stopping.abort();
    await stop();
  };
};
