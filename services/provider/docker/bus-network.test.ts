import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { expect } from "chai";
import { startTestEngine, type TestEngine } from "../../../test/support/engine.ts";
import { silentLog } from "../../runtime/log.ts";
import { ensureBusNetwork, keepBusNetwork, removeNetworks } from "./bus-network.ts";

const platform = "0123456789";
const name = `busker-${platform}`;

describe("keepBusNetwork()", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let server: Server;

  before(async () => {
    engine = await startTestEngine();
  });
  after(async () => {
    server?.close();
    await removeNetworks(engine.docker, platform);
    await engine.stop();
  });

  const open = () => keepBusNetwork({ docker: engine.docker, platform, log: silentLog });
  const names = async (): Promise<readonly string[]> => (await engine.docker.listNetworks()).map(({ Name }) => Name);

  it("makes none where there was none, because nats-server listens elsewhere", async () => {
    await (
      await open()
    )();
    expect(await names()).to.not.include(name);
  });

  it("makes a pruned one again with its address, on which a server goes on listening", async () => {
    // Its range is free when the network is made again, and would be the engine's choice.
    await engine.docker.createNetwork({ Name: "earlier", Driver: "bridge" });
    const address = await ensureBusNetwork(engine.docker, platform);
    server = createServer((socket) => socket.end("here")).listen(0, address);
    await once(server, "listening");
    const keep = await open();
    await engine.docker.pruneNetworks();
    expect(await names()).to.not.include(name);
    await keep();
    expect(await ensureBusNetwork(engine.docker, platform)).to.equal(address);
    const [made] = await engine.docker.listNetworks({ filters: { name: [name] } });
    await keep();
    expect((await engine.docker.listNetworks({ filters: { name: [name] } })).map(({ Id }) => Id)).to.deep.equal([
      made?.Id,
    ]);
  });
});
