import { openBus } from "../../services/bus/connection.ts";
import { ensureTopology } from "../../services/bus/topology.ts";
import { startTestNats, type TestNats } from "./nats.ts";

/** A real nats-server with every stream, bucket and store, as a provider makes them. */
export const startTestStreams = async (): Promise<TestNats> => {
  const nats = await startTestNats();
  const bus = await openBus({
    url: nats.url,
    credentialsFile: nats.credsFile("provider"),
    user: "provider",
    name: "streams",
  });
  await ensureTopology(bus);
  await bus.close();
  return nats;
};
