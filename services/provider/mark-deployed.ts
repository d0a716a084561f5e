import type { FunctionRecord } from "../../schemas/function.ts";
import { metricSubject } from "../../schemas/subjects.ts";
import type { Bus } from "../bus/connection.ts";
import { publishEvent } from "../bus/events.ts";

/**
 * Marks in the stream of samples that a function begins: everybody who counts begins anew at the same place. To be called
 * before the function's record is written on the same connection, so that the record's acknowledgement is the mark's too.
 */
export const markDeployed = (bus: Bus, { spec, createdAt }: FunctionRecord): void => {
  publishEvent(bus, {
    subject: metricSubject(spec.namespace, spec.name, "provider"),
    type: "io.busker.metric.deployed",
    data: { createdAt },
  });
};
