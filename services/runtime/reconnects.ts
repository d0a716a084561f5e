import { addFamily, type Registry } from "./metrics.ts";

/** What tells when the bus goes and comes; the listener gets true when it is there. */
export interface Reconnecting {
  readonly onChange: (listener: (connected: boolean) => void) => unknown;
}

/** Counts under this name, as OpenFaaS' services do each under their own, how often the bus has come back. */
export const countReconnects = (registry: Registry, name: string, bus: Reconnecting): void => {
  let count = 0;
  bus.onChange((connected) => {
    if (connected) count += 1;
  });
  const collect = () => [{ labels: {}, value: count }];
  addFamily(registry, { name, help: "Times this process was connected to NATS again", type: "counter", collect });
};
