import { type AcceptorParts, type CallAcceptor, createAcceptor } from "../bus/accept-calls.ts";
import { type AcknowledgedPublisher, openAcknowledged } from "../bus/acknowledged.ts";
import { type CallRecords, openCallRecords } from "../bus/call-records.ts";
import type { Bus } from "../bus/connection.ts";
import type { ObjectStore } from "../bus/objects.ts";
import { openPartsReader } from "../bus/parts-reader.ts";
import { openEndWatch } from "../bus/watch-ends.ts";
import { type AcceptParts, type AcceptRoute, createAcceptRoute } from "./accept-route.ts";
import { type CallHandler, createCallHandler } from "./call-handler.ts";
import { createCancelCall } from "./cancel-call.ts";

/** All that a gateway does with durable calls. */
export interface DurableCalls {
  /** Answers what is under `/async-function/`. */
  readonly accept: AcceptRoute;
  /** Answers requests about one call. */
  readonly calls: CallHandler;
  readonly records: CallRecords;
  readonly acceptor: CallAcceptor;
  readonly acknowledged: AcknowledgedPublisher;
  /** Requests that wait for the end of a call. */
  readonly waiting: () => number;
  /** Responses in parts that are being read. */
  readonly reading: () => number;
  readonly close: () => void;
}

/** What that takes besides the bus. */
export interface DurableParts
  extends Pick<AcceptParts, "directory" | "answered" | "maxBodyBytes" | "tracing">, Pick<AcceptorParts, "onAccepted"> {
  readonly payloads: ObjectStore;
}

/** Opens it. */
export const openDurableCalls = async (bus: Bus, parts: DurableParts): Promise<DurableCalls> => {
  const { payloads } = parts;
  const acknowledged = openAcknowledged(bus);
  const records = await openCallRecords(bus, acknowledged);
  const ends = openEndWatch(bus, records);
  const partsReader = openPartsReader(bus, records);
  const cancel = createCancelCall(bus, records);
  const calls = createCallHandler({ ends, bodies: { payloads, parts: partsReader }, cancel });
  const acceptor = createAcceptor({ ...parts, bus, acknowledged, records });
  return {
    accept: createAcceptRoute({ ...parts, acceptor, records, calls }),
    calls,
    records,
    acceptor,
    acknowledged,
    waiting: ends.count,
    reading: partsReader.count,
    close: () => {
      ends.close();
      partsReader.close();
      acknowledged.close();
    },
  };
};
