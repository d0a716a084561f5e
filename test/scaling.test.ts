import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type Client, connect } from "../services/bus/client.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";
import { type Answers, keepCalling } from "./support/keep-calling.ts";
import { countReplicas, deployScaled, type ScaledMore, untilReplicas } from "./support/scaled-functions.ts";
import { startTestScaler, type TestScaler } from "./support/scaler.ts";

/*
 * What happens to calls of every kind while replicas rise and fall, sleep and wake, and scalers die (issue 6, items 2, 3 and
 * the faults).
 */

const isStopped = (pid: number): boolean => {
  try {
    return /\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};

type Call = () => Promise<string>;

describe("calls while replicas follow the load", function () {
  this.timeout(150_000);
  let platform: TestPlatform;
  let client: Client;
  let second: TestScaler | undefined;

  const deploy = async (name: string, labels: Readonly<Record<string, string>>, more?: ScaledMore): Promise<void> => {
    const response = await deployScaled(platform, name, labels, more);
    expect(response.status, await response.text()).to.equal(202);
  };
  const countOf = (name: string, key: "replicas" | "availableReplicas"): Promise<number> =>
    countReplicas(platform, name, key);
  const untilCount = (name: string, key: "replicas" | "availableReplicas", wanted: number): Promise<true> =>
    untilReplicas(platform, name, key, wanted);

  const overHttp =
    (path: string): Call =>
    async () => {
      const response = await platform.invoke(path);
      await response.text();
      return `HTTP ${response.status}`;
    };
  const overBus =
    (name: string, query = ""): Call =>
    async () => {
      const response = await client.invoke(name, { path: `/${query}` });
      await response.text();
      return `bus ${response.status}`;
    };
  const durably =
    (path: string): Call =>
    async () => {
      const accepted = await fetch(`${platform.url}/async-function/${path}`, { method: "POST" });
      const id = accepted.headers.get("x-call-id") ?? "";
      const ended = await fetch(`${platform.url}/async-function/${id}?wait=60s`);
      return `durable ${((await ended.json()) as { readonly state: string }).state}`;
    };
  const everyKind = (name: string, query = ""): readonly Call[] => [
    overHttp(`${name}${query}`),
    overBus(name, query),
    durably(`${name}${query}`),
  ];
  const allWell = ["HTTP 200", "bus 200", "durable succeeded"];

  before(async () => {
    platform = await startTestPlatform();
    client = await connect({ url: platform.natsUrl, credentialsFile: join(platform.dataFolder, "creds/invoke.creds") });
  });
  after(async () => {
    await second?.stop();
    await client?.close();
    await platform?.stop();
  });

  it("are all answered through rises, falls and sleeps, over HTTP, over the bus and durably", async () => {
    const labels = { max: "4", "down.window": "2s", type: "capacity", zero: "true", "zero-duration": "2s" };
    await deploy("tide", labels, { envVars: { max_inflight: "1" } });
    const answers: Answers = {};
    // One of each kind throughout: they meet every change of the count.
    const steady = everyKind("tide", "?ms=20").map((call) => keepCalling(call, 1));
    const flood = keepCalling(overHttp("tide?ms=200"), 10);
    await untilCount("tide", "availableReplicas", 4);
    Object.assign(answers, await flood.stop());
    await eventually(
      "a replica of tide fewer",
      async () => ((await countOf("tide", "replicas")) < 4 ? true : undefined),
      60_000,
    );
    for (const one of steady) Object.assign(answers, await one.stop());
    await untilCount("tide", "replicas", 0);
    expect(Object.keys(answers)).to.have.members(allWell);
  });

  it("have replicas made by programs that know the bus alone, whose waiting calls nobody tells of", async () => {
    await deploy("bus", { max: "4" }, { envVars: { max_inflight: "1" } });
    const flood = keepCalling(overBus("bus", "?ms=200"), 8);
    await untilCount("bus", "availableReplicas", 4);
    expect(Object.keys(await flood.stop())).to.deep.equal(["bus 200"]);
  });

  for (const zero of ["stop", "freeze"])
    it(`wake a function that sleeps (${zero}), of whichever kind they are, every time`, async () => {
      const name = `nap-${zero}`;
      await deploy(name, { zero: "true", "zero-duration": "1s" }, { annotations: { "com.busker.zero": zero } });
      for (const [at, call] of everyKind(name).entries()) {
        await untilCount(name, "replicas", 0);
        expect(await call()).to.equal(allWell[at]);
      }
    });

  it("come in a stampede of a thousand, over HTTP or over the bus, and the function starts or wakes once", async () => {
    const nameOf = (zero: string, way: string): string => `stampede-${zero}-${way}`;
    const ways: Readonly<Record<string, (name: string) => Promise<string>>> = {
      http: async (name) => {
        const response = await platform.invoke(name);
        return `${response.status} ${await response.text()}`;
      },
      bus: async (name) => {
        const response = await client.invoke(name);
        return `${response.status} ${await response.text()}`;
      },
    };
    const cases = ["stop", "freeze"].flatMap((zero) =>
      Object.entries(ways).map(([way, call]) => ({ zero, way, call })),
    );
    const firstPids = new Map<string, string>();
    for (const { zero, way, call } of cases) {
      const name = nameOf(zero, way);
      await deploy(name, { zero: "true", "zero-duration": "1s" }, { annotations: { "com.busker.zero": zero } });
      firstPids.set(name, await call(name));
    }
    for (const { zero, way, call } of cases) {
      const name = nameOf(zero, way);
      await untilCount(name, "replicas", 0);
      const answers = new Set(await Promise.all(Array.from({ length: 1000 }, () => call(name))));
      expect(answers.size, [...answers].slice(0, 5).join(", ")).to.equal(1);
      const [answer = ""] = answers;
      expect(answer).to.match(/^200 \d+$/);
      expect(answer === firstPids.get(name)).to.equal(zero === "freeze");
    }
  });

  it("go on while the active scaler is killed: counts stay, the other takes over, and follows", async () => {
    await deploy("orphan", { max: "4", "down.window": "3s" }, { envVars: { max_inflight: "1" } });
    const flood = keepCalling(overHttp("orphan?ms=200"), 8);
    await untilCount("orphan", "availableReplicas", 4);
    const started = await startTestScaler({
      natsUrl: platform.natsUrl,
      credentialsFile: join(platform.dataFolder, "creds/scaler.creds"),
    });
    second = started;
    expect(await started.metrics()).to.match(/^busker_scaler_active 0$/m);
    const counts = new Set<number>();
    let isOver = false;
    const watching = (async () => {
      while (!isOver) counts.add(await countOf("orphan", "replicas"));
    })();
    // Until the other is active: the one that `busker up` starts again may be the faster.
    await eventually(
      "the second scaler to be active",
      async () => {
        if (/^busker_scaler_active 1$/m.test(await started.metrics())) return true;
        for (const pid of platform.pids("dist/services/scaler/main.js"))
          if (pid !== started.process.pid) process.kill(pid, "SIGKILL");
        return undefined;
      },
      60_000,
    );
    isOver = true;
    await watching;
    expect([...counts]).to.deep.equal([4]);
    expect(Object.keys(await flood.stop())).to.deep.equal(["HTTP 200"]);
    await untilCount("orphan", "replicas", 1);
  });

  it("find no function whose labels the CLI would not deploy: it names the label and its rule", async () => {
    const folder = await mkdtemp(join(tmpdir(), "busker-labels-"));
    await writeFile(join(folder, "handler.mjs"), "export default () => '';");
    const main = join(import.meta.dirname, "../dist/services/cli/main.js");
    const args = ["deploy", folder, "--name", "refused", "--label", "com.openfaas.scale.min=many"];
    const env = { ...process.env, HOME: folder, BUSKER_URL: platform.url, BUSKER_DATA: platform.dataFolder };
    const { code, stderr } = await new Promise<{ readonly code: unknown; readonly stderr: string }>((resolve) =>
      execFile(process.execPath, [main, ...args], { env }, (error, _out, text) =>
        resolve({ code: error?.code, stderr: text }),
      ),
    );
    await rm(folder, { recursive: true });
    expect(code).to.equal(1);
    expect(stderr).to.include("label com.openfaas.scale.min must be a whole number").and.to.include('got "many"');
    expect((await platform.invoke("refused")).status).to.equal(404);
  });

  it("that are due in an hour keep no function awake, and one that is due wakes it", async () => {
    const later = async (delay: string): Promise<string> => {
      const headers = { "X-Delay": delay };
      const response = await fetch(`${platform.url}/async-function/later`, { method: "POST", headers });
      expect(response.status).to.equal(202);
      return response.headers.get("x-call-id") ?? "";
    };
    const stateOf = async (id: string): Promise<string> =>
      ((await (await fetch(`${platform.url}/async-function/${id}`)).json()) as { readonly state: string }).state;
    await deploy("later", { zero: "true", "zero-duration": "2s" });
    const distant = await later("1h");
    await untilCount("later", "replicas", 0);
    const near = await later("3s");
    const ended = await eventually(
      "it to be over",
      async () => {
        const state = await stateOf(near);
        return state === "succeeded" || state === "dead" ? state : undefined;
      },
      60_000,
    );
    expect([ended, await stateOf(distant)]).to.deep.equal(["succeeded", "queued"]);
    await untilCount("later", "replicas", 0);
  });
});

describe("frozen replicas on a machine that is short of memory", function () {
  this.timeout(120_000);
  let platform: TestPlatform;

  before(async () => {
    // All of the memory is to be kept free, which it never is.
    platform = await startTestPlatform({ BUSKER_MEMORY_RESERVE: "100" });
  });
  after(() => platform?.stop());

  it("are stopped, the one that has slept longest first, and their functions start anew", async () => {
    const pidOf = async (name: string): Promise<number> => Number(await (await platform.invoke(name)).text());
    const annotations = { "com.busker.zero": "freeze" };
    const pids: Record<string, number> = {};
    for (const name of ["first", "second", "awake"]) {
      const response = await deployScaled(platform, name, {}, { annotations });
      expect(response.status, await response.text()).to.equal(202);
      pids[name] = await pidOf(name);
    }
    for (const name of ["first", "second"]) {
      await platform.api("POST", `/system/scale-function/${name}`, { serviceName: name, replicas: 0 });
      // Until it is at least on its way to sleep: a look in between may find it frozen and end it.
      await eventually(`${name} to sleep`, () =>
        isStopped(pids[name] ?? 0) || stoppedOf(platform).includes(name) ? true : undefined,
      );
    }
    const stopped = await eventually(
      "both to be stopped",
      () => (stoppedOf(platform).length === 2 ? stoppedOf(platform) : undefined),
      60_000,
    );
    expect(stopped).to.deep.equal(["first", "second"]);
    expect(await pidOf("first")).to.not.equal(pids["first"]);
    expect(await pidOf("awake")).to.equal(pids["awake"]);
  });
});

/** Functions of which a frozen replica was stopped for want of memory, in that order, as the provider's log has them. */
const stoppedOf = (platform: TestPlatform): readonly string[] =>
  [...platform.output().matchAll(/memory is short[^\n]*function=(\w+)\./g)].map(([, name = ""]) => name);
