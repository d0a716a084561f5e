import { expect } from "chai";
import type { LoadMinute } from "../../../schemas/load.ts";
import { type FakeGateway, startFakeGateway } from "../fixtures/fake-gateway.ts";
import { type CliRun, runInMemory } from "../fixtures/run-in-memory.ts";

const hour = 60;
// Whole hours, the last of which is not long ago.
const until = Math.floor(Date.now() / 3_600_000) * hour;

/** One call an hour, each a start of half a second after the last log. */
const minutes: readonly LoadMinute[] = Array.from({ length: 40 }, (_, at) => ({
  minute: until - (40 - at) * hour,
  quiet: at === 0 ? 0 : hour - 1,
  started: 1,
  peak: 1,
  meanMs: 20,
  first: 0,
  last: 0,
  startMs: 500,
}));
const load = (name: string, own: readonly LoadMinute[]) => ({
  spec: { name, namespace: "openfaas-fn", image: "i", labels: { "com.openfaas.scale.zero": "true" } },
  minutes: own,
});

describe("busker scaler backtest", function () {
  this.timeout(60_000);
  let gateway: FakeGateway;
  const run = (...args: readonly string[]): Promise<CliRun> =>
    runInMemory(["scaler", "backtest", ...args, "--gateway", gateway.url]);

  before(async () => {
    gateway = await startFakeGateway({
      "GET /system/functions": { status: 200, body: JSON.stringify([{ name: "cron" }, { name: "idle" }]) },
      "GET /system/scaler/load": (response, { url }) => {
        const name = new URL(url, "http://g").searchParams.get("function") ?? "";
        response.end(JSON.stringify(load(name, name === "cron" ? minutes : [])));
      },
    });
  });
  after(() => gateway.close());

  it("prints what comes of the load as things are, and with a forecast", async () => {
    const { code, stdout, stderr } = await run("cron");
    expect([code, stderr]).to.deep.equal([0, ""]);
    const lines = stdout.toString().split("\n");
    expect(lines[0]).to.match(/^cron\.openfaas-fn +CURRENT +PROPOSED$/);
    expect(lines[1]).to.match(/^cold starts +39 +5$/);
    expect(lines[2]).to.match(/^calls that waited +39 +5$/);
    expect(lines[3]).to.match(/^waiting time +19\.5 s +2\.5 s$/);
    expect(lines[5]).to.equal("40 calls; a replica starts in 0.5 s");
  });

  it("takes another policy, and tells it as JSON", async () => {
    const { stdout } = await run("cron", "--policy", "zero=false", "--json");
    const [tested] = JSON.parse(stdout.toString()) as [{ proposed: Record<string, number> }];
    expect(tested.proposed).to.deep.include({ calls: 40, coldStarts: 0, waitedMs: 0 });
  });

  it("learns from what was before --since, and counts from then on", async () => {
    const since = new Date((until - 10 * hour) * 60_000).toISOString();
    const { stdout } = await run("cron", "--since", since);
    expect(stdout.toString())
      .to.match(/cold starts +9 +0\n/)
      .and.to.match(/\n10 calls; /);
  });

  it("tests every function of the namespace without a name, and says of which there is nothing", async () => {
    const { code, stdout, stderr } = await run();
    expect(code).to.equal(0);
    expect(stdout.toString()).to.match(/^cron\.openfaas-fn /);
    expect(stderr).to.equal("busker: the log has no calls of idle.openfaas-fn in this time\n");
  });

  it("refuses a policy that cannot be used before it asks anybody", async () => {
    const asked = gateway.seen.length;
    const { code, stderr } = await run("cron", "--policy", "max=0");
    expect([code, gateway.seen.length - asked]).to.deep.equal([2, 0]);
    expect(stderr).to.match(/com\.openfaas\.scale\.max must be a whole number/);
  });
});
