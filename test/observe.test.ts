import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { packFolder } from "../services/cli/pack-folder.ts";
import { takeFreePort } from "../services/cli/up/free-port.ts";
import { type TestEngine, startTestEngine } from "./support/engine.ts";
import { makeOwnImages, makeWatcherImages, run } from "./support/own-images.ts";
import { eventually } from "./support/platform.ts";
import { ask } from "./support/watchers.ts";

/*
 * The platform in containers with Prometheus and Alertmanager beside it, as infra/compose.observe.yaml starts them. Not
 * Grafana, which Debian does not have.
 */

// Of documentation and benchmarks (RFC 2544): nobody's own network.
const network = { BUSKER_SUBNET: "198.18.78.0/24", BUSKER_NATS_ADDRESS: "198.18.78.1" };
const files = ["--file", "infra/compose.yaml", "--file", "infra/compose.observe.yaml"];
const services = ["provider", "queue-worker", "gateway", "scaler", "prometheus", "alertmanager"];

describe("infra/compose.observe.yaml", function () {
  this.timeout(240_000);
  let engine: TestEngine;
  let variables: Readonly<Record<string, string>>;
  let gateway: string;
  let prometheus: string;
  const compose = (...args: readonly string[]): Promise<string> =>
    run("docker-compose", ["--project-name", "busker-observe-test", ...files, ...args], variables);
  const freePort = (): Promise<number> => takeFreePort({ what: "a test", key: "", port: 0, patienceMs: 0 });

  before(async () => {
    engine = await startTestEngine();
    const images = {
      ...(await makeOwnImages(engine.docker, engine.socket)),
      ...(await makeWatcherImages(engine.docker)),
    };
    const [port, prometheusPort] = [String(await freePort()), String(await freePort())];
    const ports = { BUSKER_PORT: port, BUSKER_PROMETHEUS_PORT: prometheusPort };
    variables = { ...images, ...network, ...ports, BUSKER_DOCKER_SOCKET: engine.socket };
    gateway = `http://127.0.0.1:${port}`;
    prometheus = `http://127.0.0.1:${prometheusPort}`;
    await compose("up", "-d", ...services);
  });
  after(async () => {
    if (variables) await compose("down", "--volumes");
    await engine?.stop();
  });

  const untilSeen = (query: string, series: number) =>
    eventually(
      query,
      async () => {
        const found = await ask(prometheus, query).catch(() => undefined);
        return found?.length === series ? found : undefined;
      },
      120_000,
    ).catch(async (error: unknown) => {
      throw new Error(`${String(error)}\n${await compose("logs", "--no-color").catch(String)}`);
    });

  it("has Prometheus find every service, and Alertmanager add replicas to a function that is called much", async () => {
    const up = await untilSeen('up{job=~"gateway|queue-worker|scaler"} == 1', 3);
    expect(new Set(up.map(({ metric }) => metric["job"]))).to.deep.equal(
      new Set(["gateway", "queue-worker", "scaler"]),
    );
    const password = (await compose("run", "--rm", "-T", "cli", "keys", "--password")).trim();
    const authorization = `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;
    const folder = await mkdtemp(join(tmpdir(), "busker-function-"));
    await writeFile(join(folder, "handler.mjs"), "export default () => 'fine';");
    const body = await packFolder(folder);
    await rm(folder, { recursive: true });
    const stored = await fetch(`${gateway}/system/bundles`, { method: "POST", headers: { authorization }, body });
    const { image } = (await stored.json()) as { image: string };
    const labels = { type: "alert", max: "2", factor: "50" };
    const deployed = await fetch(`${gateway}/system/functions`, {
      method: "POST",
      headers: { authorization },
      body: JSON.stringify({
        service: "tide",
        image,
        envVars: { mode: "handler" },
        labels: Object.fromEntries(Object.entries(labels).map(([key, value]) => [`com.openfaas.scale.${key}`, value])),
      }),
    });
    expect(deployed.status, await deployed.text()).to.equal(202);
    let isOver = false;
    const call = async (): Promise<void> => {
      while (!isOver) expect((await fetch(`${gateway}/function/tide`)).status).to.equal(200);
    };
    const calls = call();
    const seen = untilSeen('gateway_service_ready_count{function_name="tide.openfaas-fn"} == 2', 1);
    await Promise.race([seen, calls]);
    isOver = true;
    await calls;
  });
});
