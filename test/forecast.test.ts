import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import type { RecordedLoad } from "../schemas/backtest.ts";
import type { LoadMinute } from "../schemas/load.ts";
import type { ScaleExplanation } from "../schemas/scaler.ts";
import { loadSubject } from "../schemas/subjects.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { publishDurably } from "../services/bus/streams.ts";
import { credentialsPath } from "../services/bus/trust-files.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Replicas that are started before they are needed, as users meet them: on a whole platform, whose log has already seen
 * days of calls.
 */

const server = `
import { createServer } from "node:http";
createServer((_, response) => response.end(String(process.pid))).listen(Number(process.env.PORT), "127.0.0.1");
`;
const minuteMs = 60_000;

describe("replicas that are started ahead", function () {
  this.timeout(120_000);
  let platform: TestPlatform;
  let admin: Bus;

  const deploy = async (name: string, labels: Readonly<Record<string, string>>): Promise<Response> =>
    platform.deploy({
      name,
      code: { "server.mjs": server },
      envVars: { mode: "http" },
      more: { envProcess: "node server.mjs", labels },
    });
  const sleeps = { "com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "1s" };
  const looksAhead = { "com.busker.scale.forecast": "true" };
  const untilCount = (name: string, key: "replicas" | "availableReplicas", wanted: number) =>
    eventually(
      `${wanted} ${key} of ${name}`,
      async () => (Number((await platform.status(name))[key] ?? 0) === wanted ? true : undefined),
      60_000,
    );
  const readLoad = async (name: string): Promise<RecordedLoad> =>
    (await (await platform.api("GET", `/system/scaler/load?function=${name}`)).json()) as RecordedLoad;
  /** As if there had been a call an hour for half a day, the last one so many minutes ago. */
  const remember = async (name: string, minutesAgo: number): Promise<void> => {
    const last = Math.floor(Date.now() / minuteMs) - minutesAgo;
    for (let back = 12; back >= 0; back -= 1) {
      const minute = last - back * 60;
      const data: LoadMinute = { minute, quiet: 59, started: 1, peak: 1, meanMs: 20, first: 0, last: 0, startMs: 500 };
      await publishDurably(admin, { subject: loadSubject("openfaas-fn", name), type: "io.busker.load", data });
    }
  };
  const busker = async (...args: readonly string[]): Promise<string> => {
    const main = join(import.meta.dirname, "../dist/services/cli/main.js");
    const env = { ...process.env, BUSKER_DATA: platform.dataFolder, BUSKER_URL: platform.url };
    const child = spawn(process.execPath, [main, ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
    const [output] = await Promise.all([text(child.stdout), once(child, "close")]);
    return output;
  };

  before(async () => {
    platform = await startTestPlatform();
    const credentialsFile = credentialsPath(platform.dataFolder, "admin");
    admin = await openBus({ url: platform.natsUrl, credentialsFile, user: "admin", name: "test" });
  });
  after(async () => {
    await admin?.close();
    await platform?.stop();
  });

  it("are refused with a label that says neither yes nor no", async () => {
    const response = await deploy("unsure", { "com.busker.scale.forecast": "maybe" });
    expect([response.status, await response.text()]).to.deep.equal([
      400,
      'label com.busker.scale.forecast must be true or false; got "maybe"\n',
    ]);
  });

  it("come up from zero without a call when their gaps say that one is due, and say why", async () => {
    expect((await deploy("cron", sleeps)).status).to.equal(202);
    await untilCount("cron", "replicas", 0);
    await remember("cron", 58);
    expect((await deploy("cron", { ...sleeps, ...looksAhead })).status).to.equal(202);
    await untilCount("cron", "availableReplicas", 1);
    const { latest, lastChange } = (await (
      await platform.api("GET", "/system/scaler/cron")
    ).json()) as ScaleExplanation;
    expect(lastChange).to.include({ rule: "forecast", from: 0, replicas: 1 });
    expect(latest?.numbers).to.include({ "replicas foreseen by its gaps": 1 });
    expect((await platform.invoke("cron")).status).to.equal(200);
  });

  it("are told to who asks for a backtest, from the log", async () => {
    await deploy("tested", sleeps);
    await remember("tested", 30);
    const lines = (await busker("scaler", "backtest", "tested", "--policy", "zero-duration=15m,forecast=true")).split(
      "\n",
    );
    expect(lines[0]).to.match(/^tested\.openfaas-fn +CURRENT +PROPOSED$/);
    expect(lines[1]).to.match(/^cold starts +12 +5$/);
    expect(lines[3]).to.match(/^waiting time +6\.0 s +2\.5 s$/);
  });

  it("leave a log of each minute in which they were called", async () => {
    await deploy("logged", {});
    // A call is counted by the minute in which the scaler hears of it.
    for (let calls = 0; calls < 5; calls += 1) expect((await platform.invoke("logged")).status).to.equal(200);
    const minutes = await eventually(
      "the log of the calls",
      async () => {
        const called = (await readLoad("logged")).minutes.filter(({ started }) => started > 0);
        return called.reduce((sum, { started }) => sum + started, 0) === 5 ? called : undefined;
      },
      100_000,
    );
    expect(minutes.at(-1)).to.have.property("startMs").that.is.greaterThan(0);
    expect(minutes[0]?.meanMs).to.be.greaterThan(0);
  });

  it("do not keep a function named load from being explained", async () => {
    const response = await platform.api("GET", "/system/scaler/load");
    expect([response.status, await response.text()]).to.deep.equal([
      404,
      "the scaler knows no function load.openfaas-fn, or has not decided on it yet\n",
    ]);
    expect((await platform.api("GET", "/system/scaler/load?function=nobody")).status).to.equal(404);
  });
});
