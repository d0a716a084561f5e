import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { expect } from "chai";
import { collect } from "../../../test/support/collector.ts";
import { startTestEngine, type TestEngine } from "../../../test/support/engine.ts";
import { eventually } from "../../../test/support/platform.ts";
import { silentLog } from "../../runtime/log.ts";
import { ensureBusNetwork, removeNetworks } from "./bus-network.ts";
import { forgetBusNetwork, keepBusNetwork } from "./keep-bus-network.ts";

const platform = "0123456789";
const name = `busker-${platform}`;

describe("keepBusNetwork()", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let server: Server;
  let dataFolder: string;
  const stops: (() => Promise<void>)[] = [];

  before(async () => {
    engine = await startTestEngine();
    dataFolder = await mkdtemp(join(tmpdir(), "busker-data-"));
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
  });
  after(async () => {
    server?.close();
    await removeNetworks(engine.docker, platform);
    await engine.stop();
    await rm(dataFolder, { recursive: true });
  });

  const keep = async (docker = engine.docker, log = silentLog): Promise<void> => {
    stops.push(await keepBusNetwork({ docker, platform, dataFolder, log }));
  };
  const networks = async (): Promise<readonly string[]> =>
    (await engine.docker.listNetworks({ filters: { name: [name] } })).map(({ Id }) => Id);

  it("makes none where there was none, because nats-server listens elsewhere", async () => {
    await keep();
    expect(await networks()).to.deep.equal([]);
  });

  it("makes a pruned one again with its address, on which a server goes on listening", async () => {
    // Its range is free when the network is made again, and would be the engine's choice.
    await engine.docker.createNetwork({ Name: "earlier", Driver: "bridge" });
    const address = await ensureBusNetwork(engine.docker, platform);
    server = createServer((socket) => socket.end("here")).listen(0, address);
    await once(server, "listening");
    await keep();
    await engine.docker.pruneNetworks();
    expect(await networks()).to.deep.equal([]);
    const made = await eventually("it is there again", async () => ((await networks()).length > 0 ? true : undefined));
    expect(made).to.equal(true);
    expect(await ensureBusNetwork(engine.docker, platform)).to.equal(address);
  });

  it("makes at once one again that went while nobody looked", async () => {
    const address = await ensureBusNetwork(engine.docker, platform);
    await engine.docker.createNetwork({ Name: "other", Driver: "bridge" });
    await removeNetworks(engine.docker, platform);
    await engine.docker.pruneNetworks();
    await keep();
    expect(await networks()).to.have.length(1);
    expect(await ensureBusNetwork(engine.docker, platform)).to.equal(address);
    const [before] = await networks();
    await keep();
    expect(await networks()).to.deep.equal([before]);
  });

  it("says once that the engine is away, and does not fail", async () => {
    const warnings = collect<string>();
    const away = new Docker({ socketPath: join(dataFolder, "nobody.sock") });
    await keep(away, { ...silentLog, warn: (_, fields) => warnings.push(String(fields?.["error"])) });
    expect(warnings.all).to.have.length(1);
    expect(warnings.all[0]).to.match(/ENOENT/);
  });

  it("makes none again that was removed on purpose", async () => {
    await forgetBusNetwork(dataFolder);
    await removeNetworks(engine.docker, platform);
    await keep();
    expect([await networks(), existsSync(join(dataFolder, "bus-network.json"))]).to.deep.equal([[], false]);
  });
});
