import { createHash, generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { Bootstrap, EnrolAnswer } from "../schemas/enrolment.ts";
import { bundlePartBytes, enrolUse } from "../schemas/enrolment.ts";
import { BuskerError } from "../schemas/errors.ts";
import type { FunctionSpec } from "../schemas/function.ts";
import {
  answerSubject,
  bundleSubject,
  enrolSubject,
  inboxFilter,
  inboxPrefix,
  replicaOrderSubject,
} from "../schemas/subjects.ts";
import { ask } from "../services/bus/ask.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { holdCredentials, parseCredentials, publicKeyOf } from "../services/bus/credentials.ts";
import { deriveFromSigner, enrolledKey, mintEnrolledUser, mintEnrolUser } from "../services/bus/mint.ts";
import { openBytes, rawPublic } from "../services/bus/sealed-box.ts";
import { makeArchive } from "../services/runtime/fixtures/make-archive.ts";
import { silentLog } from "../services/runtime/log.ts";
import { answerForBundles } from "../services/provider/swarm/bundle-answers.ts";
import { openEnrolments, type Enrolments } from "../services/provider/swarm/enrolments.ts";
import type { TaskView } from "../services/provider/swarm/task-view.ts";
import { makeTicket } from "../services/provider/swarm/ticket.ts";
import { enrol } from "../watchdog/enrol.ts";
import { fetchBundle } from "../watchdog/fetch-bundle.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";
import { eventually } from "./support/platform.ts";
import { connectWatched } from "./support/watched-client.ts";

/*
 * Replicas that ask for their launch, over a real server with the rights that they have there. What stands here for an
 * engine is a list of tasks.
 */

const namespace = "openfaas-fn";
const revision = "w1";
const image = { Cmd: ["serve"] };

const specOf = (name: string): FunctionSpec => ({ name, namespace, image: "app:1" });

describe("enrolment", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let provider: Bus;
  let enrolments: Enrolments | undefined;
  let ticketKey: Buffer;
  const tasks = new Map<string, TaskView>();
  let waits: number[] = [];
  const serving = new Set<string>();

  before(async () => {
    nats = await startTestNats();
    ticketKey = deriveFromSigner(nats.trust.signer, "enrolment tickets");
    provider = await openBus({
      url: nats.url,
      credentialsFile: nats.credsFile("provider"),
      user: "provider",
      name: "p",
    });
  });
  after(async () => {
    enrolments?.close();
    await provider?.close();
    await nats?.stop();
  });

  const serve = async (): Promise<void> => {
    enrolments?.close();
    enrolments = openEnrolments({
      bus: provider,
      ticketKey,
      findTask: async (id) => tasks.get(id),
      holdBackMs: () => waits.shift() ?? 0,
      isServing: (replica) => serving.has(replica),
      makeLaunch: async ({ id, spec, revision: of }) => ({
        replica: id,
        namespace: spec.namespace,
        name: spec.name,
        revision: of,
        natsUrl: nats.url,
        credentials: await mintEnrolledUser({
          signer: nats.trust.signer,
          namespace: spec.namespace,
          name: spec.name,
          replica: id,
          ttlMs: 60_000,
        }),
        timeoutMs: 1000,
        cwd: "/",
        env: { MARKER: "known to this replica" },
      }),
      log: silentLog,
    });
    await provider.nc.flush();
  };

  const addTask = (name: string, more: Partial<TaskView> = {}): string => {
    const task = randomBytes(12).toString("hex");
    tasks.set(task, {
      id: `${name}-${task}`,
      task,
      namespace,
      name,
      revision,
      timeoutMs: 1000,
      startedMs: 0,
      secrets: [],
      node: "n1",
      stopping: false,
      isStarting: true,
      unplaced: undefined,
      exit: undefined,
      ...more,
    });
    return task;
  };
  const bootstrapOf = async (name: string, ticket?: string): Promise<Bootstrap> => {
    const user = `enrol-${randomBytes(4).toString("hex")}`;
    return {
      namespace,
      name,
      user,
      natsUrl: nats.url,
      credentials: await mintEnrolUser({ signer: nats.trust.signer, namespace, name, user }),
      ticket: ticket ?? makeTicket(ticketKey, { spec: specOf(name), revision, image }),
    };
  };
  const enrolAs = async (bootstrap: Bootstrap, task: string) => (await enrol(JSON.stringify(bootstrap), task)).launch;
  const refusal = async (bootstrap: Bootstrap, task: string): Promise<string> => {
    const error: unknown = await enrolAs(bootstrap, task).then(
      () => "not refused",
      (reason: unknown) => reason,
    );
    return error instanceof BuskerError ? `${error.code}: ${error.message}` : String(error);
  };
  /** Asks as a program would that has read the bootstrap file. */
  const askAs = async ({ credentials, user, name, ticket }: Bootstrap, task: string, key: string) => {
    const bus = await openBus({ url: nats.url, credentialsFile: holdCredentials(credentials), user, name: "thief" });
    try {
      return await ask<"io.busker.enrol", EnrolAnswer>(bus, {
        subject: enrolSubject(namespace, name),
        type: "io.busker.enrol",
        data: { task, key, ticket },
        what: "enrol",
        timeoutMs: 5000,
      });
    } finally {
      await bus.close();
    }
  };
  const makeKey = () => {
    const pair = generateKeyPairSync("x25519");
    return { ...pair, text: rawPublic(pair.publicKey).toString("base64") };
  };

  it("gives a replica its launch, with credentials that a later provider can renew without having kept anything", async () => {
    await serve();
    const task = addTask("a");
    const launch = await enrolAs(await bootstrapOf("a"), task);
    expect(launch).to.deep.include({ replica: `a-${task}`, name: "a", env: { MARKER: "known to this replica" } });
    const replica = { namespace, name: "a", replica: `a-${task}` };
    expect(publicKeyOf(parseCredentials(launch.credentials ?? "").jwt)).to.equal(
      enrolledKey({ ...replica, signer: nats.trust.signer }),
    );
  });

  it("waits for a provider, and as long as the provider says", async () => {
    enrolments?.close();
    await provider.nc.flush();
    const task = addTask("a");
    const launching = enrolAs(await bootstrapOf("a"), task);
    waits = [50, 100];
    await serve();
    expect(await launching).to.include({ replica: `a-${task}` });
    expect(waits).to.deep.equal([]);
  });

  it("closes each answer for who asked: others of the function who listen read nothing", async () => {
    await serve();
    const bootstrap = await bootstrapOf("a");
    const listener = await connectWatched(nats, bootstrap.credentials, inboxPrefix(bootstrap.user));
    const heard: string[] = [];
    listener.nc.subscribe(inboxFilter(bootstrap.user), { callback: (_, message) => void heard.push(message.string()) });
    await listener.nc.flush();
    const task = addTask("a");
    await enrolAs(bootstrap, task);
    const text = await eventually("the answer", () => heard[0]);
    await listener.nc.close();
    expect(text).to.not.match(/MARKER|eyJ|SEED/);
    const { launch } = JSON.parse(text) as EnrolAnswer;
    if (!launch) throw new Error("the answer has no launch");
    const use = enrolUse({ task, namespace, name: "a" });
    expect(() => openBytes(makeKey().privateKey, use, launch)).to.throw();
  });

  it("takes a task under one key only, and under that again and again", async () => {
    await serve();
    const bootstrap = await bootstrapOf("a");
    const task = addTask("a");
    const own = makeKey();
    expect(await askAs(bootstrap, task, own.text)).to.have.property("launch");
    expect(await askAs(bootstrap, task, own.text)).to.have.property("launch");
    expect(await refusal(bootstrap, task)).to.match(/^unauthorized: .*enrolled already, under another key/);
  });

  it("refuses a task that serves already, whose key an earlier provider knew", async () => {
    await serve();
    const task = addTask("a");
    serving.add(`a-${task}`);
    expect(await refusal(await bootstrapOf("a"), task)).to.match(/^unauthorized: .*enrolled already/);
  });

  it("gives no launch of another function: not for its task, not with its ticket, not on its subject", async () => {
    await serve();
    const own = await bootstrapOf("a");
    const others = addTask("b");
    expect(await refusal(own, others)).to.match(/^unauthorized: there is no task .* of a\.openfaas-fn/);
    const ticket = makeTicket(ticketKey, { spec: specOf("b"), revision, image });
    expect(await refusal({ ...own, ticket }, others)).to.match(/^unauthorized: the ticket is not of a\.openfaas-fn/);
    const client = await connectWatched(nats, own.credentials, inboxPrefix(own.user));
    const refused = await client.refusals((nc) =>
      nc.publish(enrolSubject(namespace, "b"), "{}", { reply: answerSubject(own.user, randomUUID()) }),
    );
    expect(refused).to.deep.equal(["publish busker.enrol.openfaas-fn.b"]);
    await client.nc.close();
  });

  it("takes no ticket that was made or changed by anybody else", async () => {
    await serve();
    const task = addTask("a");
    const forged = makeTicket(randomBytes(32), { spec: specOf("a"), revision, image });
    expect(await refusal(await bootstrapOf("a", forged), task)).to.match(/^unauthorized: the ticket was not made/);
    const [, tag = ""] = (await bootstrapOf("a")).ticket.split(".");
    const body = Buffer.from(JSON.stringify({ spec: specOf("b"), revision, image })).toString("base64url");
    expect(await refusal(await bootstrapOf("a", `${body}.${tag}`), task)).to.match(/^unauthorized: the ticket was not/);
  });

  const others: readonly (readonly [string, Partial<TaskView>, RegExp])[] = [
    ["has ended", { exit: { id: "x", code: 1, signal: null, output: "" } }, /has ended/],
    ["is to end", { stopping: true }, /is to end/],
    ["is of another revision", { revision: "w2" }, /another revision/],
  ];
  for (const [what, more, message] of others)
    it(`refuses a task that ${what}`, async () => {
      await serve();
      expect(await refusal(await bootstrapOf("a"), addTask("a", more))).to.match(message);
    });

  describe("and a bundle", () => {
    const content = randomBytes(1_500_000).toString("hex");
    const archive = makeArchive([
      { path: "./", type: "Directory", mode: 0o755 },
      { path: "./data", content },
    ]);
    const digest = createHash("sha256").update(archive).digest("hex");
    let folder: string;
    let offsets: number[];
    let stop = (): void => {};

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "busker-fetch-"));
      offsets = [];
    });
    afterEach(async () => {
      stop();
      await rm(folder, { recursive: true, force: true });
    });

    const give = async (bytes = archive): Promise<void> => {
      const read = async (of: string, offset: number, count: number) => {
        if (of !== digest) throw new BuskerError("invalid_request", `there is no bundle ${of}`);
        offsets.push(offset);
        return { part: bytes.subarray(offset, offset + count), size: bytes.length };
      };
      stop = answerForBundles({ bus: provider, ticketKey, archives: { read }, log: silentLog });
      await provider.nc.flush();
    };
    const ticketOf = (name: string, of = `bundle:sha256:${digest}`) =>
      makeTicket(ticketKey, { spec: { ...specOf(name), image: of }, revision, image });
    const fetchAs = async (name: string, ticket = ticketOf(name), patienceMs = 5000) => {
      const { credentials, user } = await bootstrapOf(name);
      const bus = await openBus({
        url: nats.url,
        credentialsFile: holdCredentials(credentials),
        user,
        name: "replica",
      });
      try {
        return await fetchBundle(bus, { namespace, name, ticket, patienceMs }, { digest, folder });
      } finally {
        await bus.close();
      }
    };

    it("brings it part by part, whole", async () => {
      await give();
      expect(await fetchAs("a")).to.equal(undefined);
      expect((await readFile(join(folder, "data"), "utf8")) === content).to.equal(true);
      expect(offsets).to.deep.equal([0, bundlePartBytes, 2 * bundlePartBytes]);
    });

    it("refuses one that is not what it should be", async () => {
      await give(makeArchive([{ path: "data", content: "something else" }]));
      expect(await fetchAs("a")).to.match(/^could not fetch bundle sha256:.*what came has the hash/);
    });

    it("gives nobody another function's, none for an image, and none without a ticket of ours", async () => {
      await give();
      expect(await fetchAs("a", ticketOf("b"))).to.include("the ticket is not of a.openfaas-fn");
      expect(await fetchAs("a", ticketOf("a", "app:1"))).to.include("has no bundle");
      const forged = makeTicket(randomBytes(32), { spec: specOf("a"), revision, image });
      expect(await fetchAs("a", forged)).to.include("the ticket was not made by this platform's provider");
      expect(offsets).to.deep.equal([]);
    });

    it("says that there is none, and that nobody is there to give it", async () => {
      await give();
      const missing = `bundle:sha256:${"0".repeat(64)}`;
      expect(await fetchAs("a", ticketOf("a", missing))).to.match(/there is no bundle 0000/);
      stop();
      await provider.nc.flush();
      expect(await fetchAs("a", ticketOf("a"), 300)).to.include("no provider is there");
    });

    it("waits for a provider", async () => {
      const fetching = fetchAs("a");
      await give();
      expect(await fetching).to.equal(undefined);
    });

    it("says which folder it may not write", async () => {
      await give();
      await rm(folder, { recursive: true });
      expect(await fetchAs("a")).to.include(`${folder} cannot be written`);
    });
  });

  it("lets who has read a bootstrap file do nothing but enrol", async () => {
    const bootstrap = await bootstrapOf("a");
    const client = await connectWatched(nats, bootstrap.credentials, inboxPrefix(bootstrap.user));
    const refused = await client.refusals((nc) => {
      nc.publish("busker.invoke.openfaas-fn.a", "");
      nc.publish(bundleSubject(namespace, "b"), "{}");
      nc.publish("busker.replica.ready.openfaas-fn.a.x", "{}");
      nc.publish("$JS.API.STREAM.LIST", "");
      nc.subscribe("busker.invoke.openfaas-fn.a");
      nc.subscribe(replicaOrderSubject("a-1"));
      nc.subscribe(inboxFilter("enrol-other"));
    });
    expect(refused).to.have.length(7);
    await client.nc.close();
  });
});
