import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { registrySecretAnnotation } from "../../schemas/annotations.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { formatSecretName, type SealedBox } from "../../schemas/secret.ts";
import { type SecretRequestVerb, secretOutcomeFilters, secretSubject } from "../../schemas/subjects.ts";
import { buckets } from "../../schemas/topology.ts";
import { secretEventType } from "../../schemas/events.ts";
import { eventually } from "../../test/support/platform.ts";
import { ask } from "../bus/ask.ts";
import { openBucket } from "../bus/kv.ts";
import { openSeal, type Seal } from "../bus/sealing-keys.ts";
import { type EventLog, openEventLog } from "./fixtures/event-log.ts";
import { handlerFiles, openReplicaFiles } from "./fixtures/replica-files.ts";
import { startTestPlatform, type TestPlatform, textOf, untilValue } from "./fixtures/test-provider.ts";
import type { Provider } from "./provider.ts";

const namespace = "openfaas-fn";
const canary = "hunter2-canary";

const reader = handlerFiles(
  'const { readFileSync } = await import("node:fs"); return readFileSync(process.env.secret_mount_path + "/" + event.body, "utf8") + " " + process.env.secret_mount_path',
);

describe("openSecretRequests()", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let provider: Provider;
  let outcomes: EventLog;
  let seal: Seal;
  let image: string;

  before(async () => {
    platform = await startTestPlatform();
    provider = await platform.openProvider();
    outcomes = openEventLog(platform.bus, secretOutcomeFilters);
    seal = await openSeal(platform.nats.trust.paths.sealingPublic);
    image = await platform.addBundle(reader);
  });
  after(async () => {
    outcomes?.close();
    await provider?.stop();
    await platform?.stop();
  });

  const request = (verb: SecretRequestVerb, data: object, given = namespace) =>
    ask(platform.bus, {
      subject: secretSubject(verb, given),
      type: secretEventType(verb),
      data: data as never,
      what: `${verb} a secret`,
      timeoutMs: 5000,
    });
  const seals = (name: string, value: string): { name: string; sealed: SealedBox } => ({
    name,
    sealed: seal({ namespace, name }, Buffer.from(value)),
  });
  const refusal = async (work: Promise<unknown>): Promise<BuskerError> => {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof BuskerError)) throw new Error(`not refused: ${String(error)}`);
    return error;
  };

  it("tells what was done, with the name and nothing of the value, sealed or not", async () => {
    await request("create", seals("told", canary));
    await request("update", seals("told", `${canary}-2`));
    await request("remove", { name: "told" });
    const removed = await outcomes.until("the removal", ({ subject }) => subject.includes(".removed."));
    const of = outcomes.all().filter(({ data }) => data["name"] === "told");
    expect(of.map(({ subject }) => subject)).to.deep.equal(
      ["created", "updated", "removed"].map((verb) => `busker.secret.${verb}.${namespace}`),
    );
    for (const { data } of [...of, removed]) expect(Object.keys(data).toSorted()).to.deep.equal(["name", "wish"]);
  });

  it("lists the names of one namespace, sorted", async () => {
    await request("create", seals("list-b", "x"));
    await request("create", seals("list-a", "x"));
    const { names = [] } = await request("list", {});
    expect(names.filter((name) => name.startsWith("list-"))).to.deep.equal(["list-a", "list-b"]);
    expect(await request("list", {}, "empty")).to.deep.equal({ names: [] });
  });

  const box = { key: "k", ephemeral: "AAAA", ciphertext: "AAAA" };
  const malformed: readonly (readonly [string, object, string, RegExp])[] = [
    ["a value as it is", { name: "bad", value: canary }, "invalid_request", /^sealed must have/],
    ["a value in the box's place", { name: "bad", sealed: canary }, "invalid_request", /^sealed must have/],
    ["a value in the box", { name: "bad", sealed: { ...box, ciphertext: canary } }, "invalid_request", /^sealed must/],
    ["no box", { name: "bad" }, "invalid_request", /^sealed must have/],
    ["data that is a list", [canary], "invalid_request", /^the data must be an object/],
    ["a name that is a path", { name: "../bad", sealed: box }, "invalid_request", /^name must be/],
    ["a box for another key", { name: "bad", sealed: box }, "internal", /sealed for key "k"/],
  ];
  for (const [what, data, code, says] of malformed)
    it(`refuses ${what} with ${code}, keeps nothing and repeats nothing`, async () => {
      const error = await refusal(request("create", data));
      expect([error.code, error.message]).to.satisfy(([c, m]: [string, string]) => c === code && says.test(m));
      expect(error.message).to.not.contain(canary);
      expect((await request("list", {})).names).to.not.include("bad");
    });

  it("refuses a box that was made for another secret, because whoever may write one is not to copy another", async () => {
    const { sealed } = seals("mine", canary);
    const error = await refusal(request("create", { name: "yours", sealed }));
    expect([error.code, error.message]).to.satisfy(
      ([code, message]: [string, string]) => code === "internal" && message.includes("another secret"),
    );
  });

  it("refuses a secret of a namespace that is not there", async () => {
    const sealed = seal({ namespace: "elsewhere", name: "a" }, Buffer.from("x"));
    expect((await refusal(request("create", { name: "a", sealed }, "elsewhere"))).message).to.contain("no namespace");
  });

  it("takes changes of one secret in order, and all of them", async () => {
    await request("create", seals("often", "0"));
    await Promise.all(Array.from({ length: 20 }, (_, at) => request("update", seals("often", String(at)))));
    const stored = await (await openBucket(platform.bus, buckets.secrets)).get(`often.${namespace}`);
    expect(stored?.value).to.include({ version: 21 });
  });

  it("refuses to remove a secret that functions have, and names them", async () => {
    await request("create", seals("used", canary));
    for (const name of ["one", "two"])
      await platform.deploy({ name, image, envVars: { mode: "handler" }, secrets: ["used"] });
    const error = await refusal(request("remove", { name: "used" }));
    expect([error.code, error.message]).to.deep.equal([
      "secret_in_use",
      "secret used.openfaas-fn is used by one.openfaas-fn, two.openfaas-fn; update or remove those functions first",
    ]);
    await platform.wish("remove", "two", {});
    const annotations = { [registrySecretAnnotation]: "used" };
    await platform.deploy({ name: "one", image, envVars: { mode: "handler" }, annotations }, "update");
    expect((await refusal(request("remove", { name: "used" }))).code).to.equal("secret_in_use");
    await platform.deploy({ name: "one", image, envVars: { mode: "handler" } }, "update");
    expect(await request("remove", { name: "used" })).to.deep.equal({});
  });

  it("does not start a replica whose secret does not open, and says which and why", async () => {
    await request("create", seals("broken", canary));
    await platform.deploy({
      name: "broken",
      image,
      envVars: { mode: "handler" },
      secrets: ["broken"],
      labels: { "com.openfaas.scale.min": "1" },
    });
    // What no gateway and no provider writes: a box that was copied from another key of the bucket.
    const bucket = await openBucket<Record<string, unknown>>(platform.bus, buckets.secrets);
    const key = formatSecretName({ namespace, name: "broken" });
    const { sealed } = seals("list-a", canary);
    await bucket.put(key, { ...(await bucket.get(key))?.value, sealed });
    await platform.wish("scale", "broken", { replicas: 2 });
    const status = await untilValue(platform.status, "broken", (value) => value?.problem !== undefined);
    expect(status?.problem?.message).to.contain("could not open secret broken.openfaas-fn");
    // The one that runs keeps what it has.
    expect(textOf(await platform.call("broken", "broken"))).to.match(new RegExp(`^${canary} `));
    const files = openReplicaFiles(platform.nats.dataFolder);
    await eventually("nothing is left of the starts", () => (files.idsOf("broken").length === 1 ? true : undefined));
    await platform.wish("remove", "broken", {});
  });

  it("keeps secrets on disk with a warning in the status where there is no memory", async () => {
    await provider.stop();
    provider = await platform.openProvider({ memoryFolder: "/proc" });
    await request("create", seals("disk", canary));
    await platform.deploy({ name: "disk", image, envVars: { mode: "handler" }, secrets: ["disk"] });
    const status = await untilValue(platform.status, "disk", (value) => value?.replicas[0]?.state === "ready");
    expect(status?.warnings).to.deep.equal([
      "secrets (disk) are on disk while a replica runs: /proc is not in memory (no tmpfs)",
    ]);
    const [value, folder = ""] = textOf(await platform.call("disk", "disk")).split(/ (?=\/)/);
    expect(value).to.equal(canary);
    await request("update", seals("disk", `${canary}-${randomUUID()}`));
    await eventually("the new value", () => (readFileSync(join(folder, "disk"), "utf8") === canary ? undefined : true));
    await platform.wish("remove", "disk", {});
    await untilValue(platform.status, "disk", (gone) => gone === undefined);
    expect(openReplicaFiles(platform.nats.dataFolder).idsOf("disk")).to.deep.equal([]);
  });
});
