import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { ScaleExplanation } from "../schemas/scaler.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";
import { keepCalling } from "./support/keep-calling.ts";
import { countReplicas, deployScaled, type ScaledMore, untilReplicas } from "./support/scaled-functions.ts";

/*
 * Replicas that follow the load, down to zero, as users meet them: over HTTP, on a whole platform.
 */

// The first start of a function works, and none after it does.
const startsOnce = `
import { openSync } from "node:fs";
import { createServer } from "node:http";
openSync(process.env.MARKER, "wx");
createServer((request, response) => setTimeout(() => response.end("ok"), 500)).listen(Number(process.env.PORT), "127.0.0.1");
`;

const crashesInCalls = `
import { createServer } from "node:http";
createServer((request, response) => {
  if (request.url.includes("crash")) process.exit(1);
  response.end("ok");
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

describe("replicas that follow the load", function () {
  this.timeout(90_000);
  let platform: TestPlatform;

  const deploy = (name: string, labels: Readonly<Record<string, string>> = {}, more?: ScaledMore): Promise<Response> =>
    deployScaled(platform, name, labels, more);
  const countOf = (name: string, key: "replicas" | "availableReplicas"): Promise<number> =>
    countReplicas(platform, name, key);
  const untilCount = (name: string, key: "replicas" | "availableReplicas", wanted: number): Promise<true> =>
    untilReplicas(platform, name, key, wanted);
  /** Empty while there is no scaler, or it has not decided. */
  const explain = async (name: string): Promise<ScaleExplanation> => {
    const response = await platform.api("GET", `/system/scaler/${name}`);
    return response.ok ? ((await response.json()) as ScaleExplanation) : {};
  };
  const untilRule = (name: string, rule: string) =>
    eventually(`${name} to be decided by ${rule}`, async () =>
      (await explain(name)).latest?.rule === rule ? true : undefined,
    );

  const load = (path: string, clients: number) =>
    keepCalling(async () => {
      const response = await platform.invoke(path);
      await response.text();
      return String(response.status);
    }, clients);

  before(async () => {
    platform = await startTestPlatform();
  });
  after(() => platform?.stop());

  it("do not go to zero while a call is in one, however long it takes", async () => {
    await deploy("long", { zero: "true", "zero-duration": "1s" });
    const call = platform.invoke("long?ms=6000");
    await untilCount("long", "replicas", 1);
    const response = await call;
    const { lastChange } = await explain("long");
    expect([response.status, lastChange]).to.deep.equal([200, undefined]);
    await untilCount("long", "replicas", 0);
  });

  it("are not scaled to zero that are to be kept", async () => {
    const annotations = { "com.busker.zero": "keep" };
    await deploy("kept", { zero: "true", "zero-duration": "1s" }, { annotations });
    await deploy("unkept", { zero: "true", "zero-duration": "1s" });
    await untilCount("unkept", "replicas", 0);
    expect(await countOf("kept", "replicas")).to.equal(1);
  });

  it("rise with a queue of durable calls, and one that is due wakes a function at zero", async () => {
    const labels = { type: "queue", target: "5", max: "3", "down.window": "3s", zero: "true", "zero-duration": "1s" };
    await deploy("queued", labels, { envVars: { max_inflight: "1" } });
    await untilCount("queued", "replicas", 0);
    const accepted = await Promise.all(
      Array.from({ length: 30 }, () => fetch(`${platform.url}/async-function/queued?ms=300`, { method: "POST" })),
    );
    expect(new Set(accepted.map(({ status }) => status))).to.deep.equal(new Set([202]));
    await untilCount("queued", "availableReplicas", 3);
    // The last of them has ended, or it would not go to zero.
    await untilCount("queued", "replicas", 0);
    expect((await platform.status("queued"))["invocationCount"]).to.equal(30);
  });

  it("stay as many as they are while the scaler is dead, and follow again with the next", async () => {
    await deploy("orphan", { max: "4", "down.window": "3s" }, { envVars: { max_inflight: "1" } });
    const flood = load("orphan?ms=200", 8);
    await untilCount("orphan", "availableReplicas", 4);
    const [scaler] = platform.pids("dist/services/scaler/main.js");
    if (scaler === undefined) throw new Error("no scaler runs");
    process.kill(scaler, "SIGKILL");
    expect((await platform.api("GET", "/system/scaler/orphan")).status).to.be.oneOf([200, 503]);
    await eventually("the next scaler", async () => ((await explain("orphan")).latest ? true : undefined), 30_000);
    expect(await countOf("orphan", "replicas")).to.equal(4);
    expect(Object.keys(await flood.stop())).to.deep.equal(["200"]);
    await untilCount("orphan", "replicas", 1);
    const { lastChange } = await explain("orphan");
    expect(lastChange).to.include({ rule: "down", replicas: 1 });
    expect(lastChange?.numbers).to.include({ "most replicas": 4 });
  });

  it("are not started to the most of a function that does not come up again", async () => {
    const folder = await mkdtemp(join(tmpdir(), "busker-starts-"));
    const envVars = { max_inflight: "1", MARKER: join(folder, "started") };
    expect((await deploy("fails", { type: "rps" }, { code: startsOnce, envVars })).status).to.equal(202);
    const flood = load("fails", 30);
    await untilRule("fails", "failing");
    const counts = [];
    for (let looks = 0; looks < 20; looks += 1) counts.push(await countOf("fails", "replicas"));
    await flood.stop();
    await platform.api("DELETE", "/system/functions", { functionName: "fails" });
    await rm(folder, { recursive: true });
    // One is ready, and eight were tried ahead of it.
    expect(Math.max(...counts)).to.be.at.most(9);
  });

  it("are not started to the most of a function that crashes in every call", async () => {
    await deploy("crashes", { type: "rps" }, { code: crashesInCalls, envVars: { max_inflight: "1" } });
    const flood = load("crashes?crash", 30);
    await untilRule("crashes", "failing");
    expect(await countOf("crashes", "replicas")).to.be.at.most(9);
    await platform.api("DELETE", "/system/functions", { functionName: "crashes" });
    await flood.stop();
  });

  it("stay at a count that somebody has set, though fewer would do", async () => {
    await deploy("manual", { "down.window": "1s" });
    await platform.api("POST", "/system/scale-function/manual", { serviceName: "manual", replicas: 2 });
    await untilRule("manual", "manual");
    // What the scaler knows is enough to go down by, but for who has set the count.
    await eventually(
      "a full window",
      async () =>
        (await explain("manual")).latest?.numbers["most recommended in the down window"] === undefined
          ? undefined
          : true,
      30_000,
    );
    expect(await countOf("manual", "replicas")).to.equal(2);
  });

  const refused = [
    [{ target: "0" }, "com.openfaas.scale.target"],
    [{ min: "5", max: "2" }, "com.openfaas.scale.max"],
    [{ max: "-1" }, "com.openfaas.scale.max"],
    [{ "zero-duration": "soon" }, "com.openfaas.scale.zero-duration"],
    [{ type: "memory" }, "com.openfaas.scale.type"],
  ] as const;
  for (const [labels, label] of refused)
    it(`are not deployed with ${JSON.stringify(labels)}: the answer names ${label}`, async () => {
      const response = await deploy("refused", labels as unknown as Readonly<Record<string, string>>);
      expect([response.status, await response.text()].join(" ")).to.match(new RegExp(`^400 label ${label} must be`));
    });
});
