import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { collect } from "./support/collector.ts";
import { getResponse } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/* What became of calls, through a whole platform and the command line. */

const cli = fileURLToPath(new URL("../dist/services/cli/main.js", import.meta.url));

const handler = (body: string) => ({ "handler.mjs": `export default async (event, context) => { ${body} };` });
const shell = { "x.sh": "echo got it >&2\ntr a-z A-Z\n" };
const upper = "return { status: 200, body: String(event.body).toUpperCase() };";

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("what became of calls", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  before(async () => {
    platform = await startTestPlatform();
    const handlerMode = { mode: "handler" };
    const bodies = { "com.busker.record": "bodies" };
    const functions = [
      // Of a process per call it is known which call a line is of.
      {
        name: "upper",
        code: shell,
        envVars: { fprocess: "sh x.sh" },
        more: { annotations: { "com.busker.on-success": "next" } },
      },
      { name: "next", code: handler("return event.body;") },
      { name: "picky", code: handler("return { status: 422, body: 'no: ' + event.body };") },
      { name: "kept", code: handler(upper), more: { annotations: bodies } },
      { name: "sleeper", code: handler("await new Promise((done) => setTimeout(done, 50_000));") },
    ];
    for (const fn of functions) {
      const deployed = await platform.deploy({ envVars: handlerMode, ...fn });
      expect(deployed.status, await deployed.text()).to.equal(202);
    }
  });
  after(() => platform?.stop());

  const busker = (...args: readonly string[]): Promise<Ran> =>
    new Promise((resolve) => {
      const env = { ...process.env, BUSKER_DATA: platform.dataFolder };
      execFile(process.execPath, [cli, ...args, "-g", platform.url], { env }, (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr }),
      );
    });
  const queue = async (name: string, body: string): Promise<string> => {
    const response = await fetch(`${platform.url}/async-function/${name}`, { method: "POST", body });
    expect(response.status).to.equal(202);
    return response.headers.get("x-call-id") ?? "";
  };
  const statesOf = async (id: string): Promise<readonly string[]> => {
    const response = await platform.api("GET", "/system/calls?limit=1000");
    const { calls } = (await response.json()) as { calls: readonly { id: string; state: string; kind: string }[] };
    return calls.filter((call) => call.id === id).map(({ state, kind }) => `${kind} ${state}`);
  };
  const untilListed = (id: string, state: string): Promise<true> =>
    eventually(`${id} as ${state}`, async () => (await statesOf(id)).includes(state) || undefined);

  it("a durable call is waited for, listed once, and its story told with lines and what came of it", async () => {
    const id = await queue("upper", "hello");
    expect(await busker("calls", "wait", id)).to.deep.equal({ code: 0, stdout: "HELLO", stderr: "" });
    await untilListed(id, "durable succeeded");
    // Its attempts are in no batch of synchronous calls: one that was made later has come.
    const later = (await platform.invoke("upper", { method: "POST", body: "x" })).headers.get("x-call-id") ?? "";
    await untilListed(later, "sync succeeded");
    expect(await statesOf(id)).to.deep.equal(["durable succeeded"]);
    const text = await eventually("the whole story", async () => {
      const { stdout } = await busker("calls", "show", id);
      return stdout.includes("next.openfaas-fn (durable)") && stdout.includes("got it") ? stdout : undefined;
    });
    expect(text).to.match(/history:\n.*queued\n.*running +attempt 1\n.*succeeded +attempt 1, status 200/);
  });

  it("a dead call is listed, shown, and replayed against another function, which takes its letter away", async () => {
    const id = await queue("picky", "again");
    const waited = await busker("calls", "wait", id);
    expect([waited.code, waited.stdout, waited.stderr.includes("is dead with status 422")]).to.deep.equal([
      1,
      "no: again",
      true,
    ]);
    const row = await eventually("the letter", async () => {
      const { stdout } = await busker("dead", "list", "--function", "picky");
      return stdout.includes(id) ? stdout : undefined;
    });
    expect(row).to.match(/ATTEMPTS +WHY\n/);
    expect((await busker("dead", "show", id)).stdout).to.match(/request: +POST \/\n[^]*again[^]*response: +422/);
    const replayed = await busker("dead", "replay", id, "--to", "upper");
    const again = /runs again as (\S+)/.exec(replayed.stdout)?.[1] ?? "";
    expect(await busker("calls", "wait", again)).to.deep.include({ code: 0, stdout: "AGAIN" });
    expect((await busker("dead", "show", id)).stderr).to.contain("there is no dead letter");
    const story = await (await platform.api("GET", `/system/calls/${again}/story`)).json();
    expect((story as { call: object }).call).to.include({ replayOf: id });
  });

  it("a synchronous call of a function that records bodies runs again, and its answers are compared", async () => {
    const first = await platform.invoke("kept", { method: "POST", body: "hello" });
    const id = first.headers.get("x-call-id") ?? "";
    await untilListed(id, "sync succeeded");
    const same = await busker("calls", "replay", id, "--diff");
    expect([same.code, same.stdout.includes("answered the same as")], same.stderr).to.deep.equal([0, true]);
    const other = await busker("calls", "replay", id, "--to", "picky", "--diff");
    expect(other.code).to.equal(1);
    expect(other.stdout).to.contain("- 200 (succeeded)\n+ 422 (dead)\n").and.contain("- HELLO\n+ no: hello\n");
  });

  it("a synchronous call that was not recorded says which annotation would have", async () => {
    const id = (await platform.invoke("next", { method: "POST", body: "x" })).headers.get("x-call-id") ?? "";
    await untilListed(id, "sync succeeded");
    const refused = await busker("calls", "replay", id);
    expect([refused.code, refused.stderr.includes("com.busker.record: bodies")]).to.deep.equal([1, true]);
  });

  it("a running call is followed live, and cancelled", async () => {
    const headers = { accept: "text/event-stream", authorization: platform.authorization };
    const stream = await getResponse(`${platform.url}/system/calls?function=sleeper&kind=durable`, { headers });
    const states = collect<string>();
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => {
      for (const [, state] of chunk.toString().matchAll(/"state":"(\w+)"/g)) if (state) states.push(state);
    });
    const id = await queue("sleeper", "");
    await states.until((all) => all.includes("running"), "running");
    expect(await busker("calls", "cancel", id)).to.deep.include({ code: 0, stdout: `${id} cancelled\n` });
    await states.until((all) => all.includes("cancelled"), "cancelled");
    expect((await busker("calls", "wait", id)).code).to.equal(3);
    stream.destroy();
  });
});
