import { readFileSync } from "node:fs";
import { expect } from "chai";
import { formatFunctionName } from "../../schemas/names.ts";
import { connectWatched } from "../../test/support/watched-client.ts";
import { callOverWire } from "../../test/support/wire-call.ts";
import { handlerFiles, openReplicaFiles, type ReplicaFiles, whoAmI } from "./fixtures/replica-files.ts";
import { startTestPlatform, type TestPlatform, textOf, untilValue } from "./fixtures/test-provider.ts";
import type { Provider } from "./provider.ts";

const namespace = "openfaas-fn";
const env = { mode: "handler" };

describe("openProvider()", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let provider: Provider;
  let files: ReplicaFiles;
  let image: string;

  before(async () => {
    platform = await startTestPlatform();
    provider = await platform.openProvider();
    files = openReplicaFiles(platform.nats.dataFolder);
    image = await platform.addBundle(whoAmI);
  });
  after(async () => {
    await provider?.stop();
    await platform?.stop();
  });

  it("deploys a bundle that then answers, because that is its job", async () => {
    const outcome = await platform.deploy({ name: "echo", image, envVars: { ...env, GREETING: "hi " } });
    expect(outcome.subject, JSON.stringify(outcome.data)).to.equal("busker.function.deployed.openfaas-fn.echo");
    expect(outcome.data).to.include({ replicas: 1, availableReplicas: 1 });
    expect(textOf(await platform.call("echo", "there"))).to.match(/^hi there \d+$/);
    const status = await untilValue(platform.status, "echo", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.problem).to.equal(undefined);
  });

  it("takes a wish once though it comes twice, because it may be delivered again", async () => {
    const spec = { spec: { name: "twice", namespace, image, envVars: env } };
    const first = await platform.wish("deploy", "twice", spec, "wish-a");
    expect(first.subject).to.include(".deployed.");
    const before = files.idOf("twice");
    const again = await platform.deploy({ name: "twice", image, envVars: env });
    expect(again.data).to.include({ verb: "deploy", code: "function_exists" });
    expect(files.idsOf("twice")).to.deep.equal([before]);
  });

  const refused: readonly (readonly [string, string, object, string, RegExp])[] = [
    ["an image", "deploy", { image: "nginx:latest" }, "unsupported", /bundle:sha256/],
    [
      "a bundle that is not there",
      "deploy",
      { image: `bundle:sha256:${"0".repeat(64)}` },
      "invalid_request",
      /object store/,
    ],
    ["an unknown mode", "deploy", { envVars: { mode: "magic" } }, "invalid_request", /envVars.mode must be one of/],
    ["a mode without its command", "deploy", { envVars: {} }, "invalid_request", /envProcess must be a command/],
    ["a wrong memory limit", "deploy", { limits: { memory: "lots" } }, "invalid_request", /limits.memory/],
    ["a secret that is not there", "deploy", { secrets: ["api-key"] }, "invalid_request", /no secret "api-key"/],
    [
      "an unknown namespace",
      "deploy",
      { namespace: "elsewhere" },
      "invalid_request",
      /namespace must be that of the subject/,
    ],
    [
      "a wrong label",
      "deploy",
      { labels: { "com.openfaas.scale.min": "-1" } },
      "invalid_request",
      /scale.min must be a whole number/,
    ],
    ["a function that is not there", "update", {}, "function_not_found", /refused/],
    ["a function that is not there", "scale", { replicas: 2 }, "function_not_found", /refused/],
    ["a count from which to scale that is none", "scale", { replicas: 2, from: -1 }, "invalid_request", /from must be/],
    ["a reason that is no text", "scale", { replicas: 2, reason: 1 }, "invalid_request", /reason must be text; got 1/],
    ["a function that is not there", "remove", {}, "function_not_found", /refused/],
  ];
  for (const [what, verb, more, code, says] of refused)
    it(`refuses to ${verb} ${what} with ${code} and says why, because nobody else can`, async () => {
      const spec = { name: "refused", namespace, image, envVars: env, ...more };
      const data = verb === "deploy" || verb === "update" ? { spec } : more;
      const outcome = await platform.wish(verb as "deploy", "refused", data);
      expect(outcome.data).to.include({ verb, code });
      expect(outcome.data["message"]).to.match(says);
      expect(await platform.functions.get(formatFunctionName({ name: "refused", namespace }))).to.equal(undefined);
    });

  it("rolls a failing start back and says why, because a function that never ran is not deployed", async () => {
    const broken = await platform.addBundle({
      "handler.mjs": "console.error('no database'); throw new Error('cannot begin');\n",
    });
    const outcome = await platform.deploy({ name: "broken", image: broken, envVars: env });
    expect(outcome.data).to.include({ code: "start_failed" });
    expect(outcome.data["message"]).to.include("cannot begin");
    expect(await platform.functions.get(`broken.${namespace}`)).to.equal(undefined);
    await untilValue(platform.status, "broken", (value) => value === undefined);
    expect(files.idsOf("broken")).to.deep.equal([]);
  });

  it("restores the old revision when the new one does not start, because it still works", async () => {
    await platform.deploy({ name: "keep", image, envVars: env });
    const before = files.idsOf("keep");
    const broken = await platform.addBundle({ "handler.mjs": "throw new Error('cannot begin');\n" });
    const outcome = await platform.deploy({ name: "keep", image: broken, envVars: env }, "update");
    expect(outcome.data).to.include({ code: "start_failed", verb: "update" });
    expect((await platform.functions.get(`keep.${namespace}`))?.value.spec.image).to.equal(image);
    expect(textOf(await platform.call("keep", "still"))).to.match(/^still \d+$/);
    expect(files.idsOf("keep")).to.include.members(before);
  });

  it("starts a function at zero for the first call, and once for many", async () => {
    await platform.deploy({ name: "sleepy", image, envVars: env });
    await platform.wish("scale", "sleepy", { replicas: 0 });
    await untilValue(platform.status, "sleepy", (value) => value?.replicas.length === 0);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => platform.call("sleepy", String(at))));
    expect(new Set(answers.map((answer) => textOf(answer).split(" ")[1])).size).to.equal(1);
    expect((await platform.functions.get(`sleepy.${namespace}`))?.value.replicas).to.equal(1);
  });

  it("stands in for absent replicas, because a plain client knows only the queue group", async () => {
    await platform.wish("scale", "sleepy", { replicas: 0 });
    await untilValue(platform.status, "sleepy", (value) => value?.replicas.length === 0);
    const client = await connectWatched(
      platform.nats,
      readFileSync(platform.nats.credsFile("invoke"), "utf8"),
      "_INBOX",
    );
    const reply = await client.nc.request(`busker.invoke.${namespace}.sleepy`, "plain", { timeout: 5000 });
    expect(reply.string()).to.match(/^plain \d+$/);
    await client.close();
  });

  it("refuses a streamed body at once while it stands in, and has a replica made for the next try", async () => {
    await platform.wish("scale", "sleepy", { replicas: 0 });
    await untilValue(platform.status, "sleepy", (value) => value?.replicas.length === 0);
    const client = await connectWatched(
      platform.nats,
      readFileSync(platform.nats.credsFile("invoke"), "utf8"),
      "_INBOX",
    );
    const beganMs = performance.now();
    const { message, error } = await callOverWire(client.nc, "sleepy", "/", { body: "stream" }).end();
    expect(performance.now() - beganMs).to.be.lessThan(8000);
    expect(error).to.equal("no_replica");
    expect(message.headers?.get("ce-id")).to.match(/^[0-9a-f-]{36}$/);
    expect(message.string()).to.equal(
      `no replica of sleepy.${namespace} is ready, and a streamed body is not kept until one is; try again\n`,
    );
    await untilValue(platform.status, "sleepy", (value) => value?.replicas[0]?.state === "ready");
    await client.close();
  });

  it("loses no call in an update, because the old serves until the new is ready", async () => {
    await platform.deploy({
      name: "busy",
      image,
      envVars: { ...env, GREETING: "old " },
      labels: { "com.openfaas.scale.min": "2" },
    });
    let going = true;
    const answers: string[] = [];
    const callers = Array.from({ length: 8 }, async () => {
      while (going) answers.push(textOf(await platform.call("busy", "x")));
    });
    const outcome = await platform.deploy(
      { name: "busy", image, envVars: { ...env, GREETING: "new " }, labels: { "com.openfaas.scale.min": "2" } },
      "update",
    );
    expect(outcome.subject).to.include(".updated.");
    await untilValue(
      platform.status,
      "busy",
      (value) =>
        value?.replicas.length === 2 && value.replicas.every(({ revision }) => revision === outcome.data["wish"]),
    );
    going = false;
    await Promise.all(callers);
    expect(answers.filter((answer) => !/^(old|new) x \d+$/.test(answer))).to.deep.equal([]);
    expect(answers.at(-1)).to.match(/^new/);
  });

  it("keeps why the scaler has set a count, and forgets it when somebody else sets one", async () => {
    await platform.deploy({ name: "counted", image, envVars: env });
    const because = async (): Promise<string | undefined> =>
      (await platform.functions.get(`counted.${namespace}`))?.value.scaledBecause;
    await platform.wish("scale", "counted", { replicas: 2, from: 1, reason: "up: more load" });
    expect(await because()).to.equal("up: more load");
    // The same count, and now somebody's own.
    await platform.wish("scale", "counted", { replicas: 2 });
    expect(await because()).to.equal(undefined);
    await platform.wish("scale", "counted", { replicas: 2, from: 2, reason: "steady" });
    expect(await because()).to.equal(undefined);
  });

  it("refuses a scale wish that was made for another count, because somebody was faster", async () => {
    const outcome = await platform.wish("scale", "counted", { replicas: 0, from: 1, reason: "idle" });
    expect(outcome.data).to.include({ code: "conflict" });
    expect(outcome.data["message"]).to.equal(`counted.${namespace} was to be scaled from 1 to 0, and is at 2`);
    expect((await platform.functions.get(`counted.${namespace}`))?.value.replicas).to.equal(2);
  });

  it("scales up and down and cuts no call", async () => {
    const slow = await platform.addBundle(
      handlerFiles("await new Promise((done) => setTimeout(done, 300)); return 'done'"),
    );
    await platform.deploy({ name: "elastic", image: slow, envVars: { ...env, max_inflight: "1" } });
    await platform.wish("scale", "elastic", { replicas: 3 });
    await untilValue(
      platform.status,
      "elastic",
      (value) => value?.replicas.filter(({ state }) => state === "ready").length === 3,
    );
    const calls = Promise.all([platform.call("elastic"), platform.call("elastic"), platform.call("elastic")]);
    await platform.wish("scale", "elastic", { replicas: 1 });
    expect((await calls).map(textOf)).to.deep.equal(["done", "done", "done"]);
    await untilValue(platform.status, "elastic", (value) => value?.replicas.length === 1);
  });
});
