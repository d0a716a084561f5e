import { expect } from "chai";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { headers, type NatsConnection } from "nats";
import * as subjects from "../schemas/subjects.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { mintFunctionUser, mintInvokeUser } from "../services/bus/mint.ts";
import { ensureTopology } from "../services/bus/topology.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";
import { connectWatched, type WatchedClient } from "./support/watched-client.ts";

const own = { namespace: "openfaas-fn", name: "mine", replica: "mine-1" };
const hourMs = 3600_000;

interface Attempt {
  readonly what: string;
  readonly act: (nc: NatsConnection) => void;
  readonly refused: string;
}

const subscribing = (what: string, subject: string, queue?: string): Attempt => ({
  what: `subscribe to ${what}`,
  act: (nc) => void nc.subscribe(subject, { callback: () => {}, ...(queue === undefined ? {} : { queue }) }),
  refused: `subscription ${subject}`,
});

const publishing = (what: string, subject: string): Attempt => ({
  what: `publish ${what}`,
  act: (nc) => nc.publish(subject, "{}"),
  refused: `publish ${subject}`,
});

const attempts: readonly Attempt[] = [
  subscribing("another function's calls", "busker.invoke.openfaas-fn.other"),
  subscribing("another function's calls, in the queue group", "busker.invoke.openfaas-fn.other", "replicas"),
  subscribing("another replica's calls", "busker.invoke.openfaas-fn.other.other-1"),
  subscribing("calls of all functions", "busker.invoke.>"),
  subscribing("its own function's calls outside the queue group", "busker.invoke.openfaas-fn.mine"),
  subscribing("its own function's calls in another queue group", "busker.invoke.openfaas-fn.mine", "tap"),
  subscribing("another replica's control", "busker.replica-control.other-1"),
  subscribing("all control", "busker.replica-control.*"),
  subscribing("durable calls", "busker.async.*.*"),
  subscribing("results", "busker.result.*"),
  subscribing("wishes", "busker.function.>"),
  subscribing("logs", "busker.log.>"),
  subscribing("the whole platform", "busker.>"),
  subscribing("everything", ">"),
  subscribing("the bucket functions", "$KV.functions.>"),
  subscribing("the bucket secrets", "$KV.secrets.>"),
  subscribing("bundles", "$O.bundles.>"),
  subscribing("the gateway's replies", "_BUSKER.gateway.>"),
  subscribing("everybody's replies", "_BUSKER.>"),
  subscribing("replies of calls of its own function", "_BUSKER.*.call.openfaas-fn.mine.>"),
  subscribing("another replica's replies", "_BUSKER.other-1.>"),
  subscribing("the server's events", "$SYS.>"),
  publishing("a direct read of a bucket", "$JS.API.DIRECT.GET.KV_functions.$KV.functions.a"),
  publishing("a direct read of a secret", "$JS.API.DIRECT.GET.KV_secrets.$KV.secrets.api-key.openfaas-fn"),
  publishing("a read of the bucket of secrets", "$JS.API.STREAM.MSG.GET.KV_secrets"),
  publishing("a new consumer of secrets", "$JS.API.CONSUMER.CREATE.KV_secrets"),
  publishing("a secret", "$KV.secrets.api-key.openfaas-fn"),
  publishing("a request for the names of secrets", "busker.secret.list.openfaas-fn"),
  publishing("a request to change a secret", "busker.secret.update.openfaas-fn"),
  publishing("that a secret was changed", "busker.secret.updated.openfaas-fn"),
  publishing("an answer of the provider to the gateway", "_BUSKER.gateway.answer.abc"),
  subscribing("requests about secrets", "busker.secret.>"),
  subscribing("requests about secrets, in the providers' group", "busker.secret.create.*", "providers"),
  publishing("a read of a bucket", "$JS.API.STREAM.MSG.GET.KV_functions"),
  publishing("a new consumer", "$JS.API.CONSUMER.CREATE.KV_functions"),
  publishing("a new named consumer", "$JS.API.CONSUMER.CREATE.LOGS.spy.busker.log.>"),
  publishing("a new durable consumer", "$JS.API.CONSUMER.DURABLE.CREATE.INVOCATIONS.spy"),
  publishing("a pull", "$JS.API.CONSUMER.MSG.NEXT.INVOCATIONS.any"),
  publishing("the removal of a stream", "$JS.API.STREAM.DELETE.INVOCATIONS"),
  publishing("a new stream", "$JS.API.STREAM.CREATE.SPY"),
  publishing("the list of streams", "$JS.API.STREAM.NAMES"),
  publishing("an acknowledgement", "$JS.ACK.INVOCATIONS.any.1.1.1.1.0"),
  publishing("a key of a bucket", "$KV.functions.mine.openfaas-fn"),
  publishing("a bundle's chunk", "$O.bundles.C.abc"),
  publishing("a wish to deploy", "busker.function.deploy.openfaas-fn.mine"),
  publishing("an outcome of a wish", "busker.function.deployed.openfaas-fn.mine"),
  publishing("a call of another function", "busker.invoke.openfaas-fn.other"),
  publishing("a durable call", "busker.async.openfaas-fn.other"),
  publishing("a call that was accepted", "busker.queue.openfaas-fn.other.normal"),
  publishing("a call's record", "busker.result.c1"),
  publishing("a dead letter", "busker.dead.openfaas-fn.other.c1"),
  publishing("an outcome to be told", "busker.outcome.openfaas-fn.other"),
  publishing("a cancellation", "busker.cancel.openfaas-fn.other"),
  publishing("another function's recorded calls", "busker.recorded.openfaas-fn.other.c1"),
  publishing("control of another replica", "busker.replica-control.other-1"),
  publishing("an order to another replica", "busker.replica-order.other-1"),
  publishing("an order to itself", "busker.replica-order.mine-1"),
  publishing("a result", "busker.result.abc"),
  publishing("another function's readiness", "busker.replica.ready.openfaas-fn.other.other-1"),
  publishing("another replica's readiness", "busker.replica.ready.openfaas-fn.mine.mine-2"),
  publishing("another function's finished calls", "busker.call.done.openfaas-fn.other"),
  publishing("a success of a durable call", "busker.call.succeeded.openfaas-fn.mine"),
  publishing("another function's sample", "busker.metric.openfaas-fn.other.other-1"),
  publishing("another function's log", "busker.log.openfaas-fn.other.other-1"),
  publishing("another function's spans", "busker.span.openfaas-fn.other.other-1"),
  subscribing("spans", "busker.span.openfaas-fn.mine.mine-1"),
  publishing("another function's kept events", "busker.stream.openfaas-fn.other.abc"),
  publishing("the head of another function's kept answer", "busker.stream.openfaas-fn.other.abc.head"),
  subscribing("another function's kept events", "busker.stream.openfaas-fn.other.>"),
  subscribing("its own function's kept events", "busker.stream.openfaas-fn.mine.>"),
  publishing("a read of kept events", "$JS.API.STREAM.MSG.GET.STREAMS"),
  publishing("a consumer of kept events", "$JS.API.CONSUMER.CREATE.STREAMS"),
  publishing("a demand", "busker.demand.openfaas-fn.other"),
  publishing("a reply to a call of another function", "_BUSKER.gateway.call.openfaas-fn.other.abc.1"),
  publishing("an answer of JetStream to the gateway", "_BUSKER.gateway.abc.1"),
];

// What a replica is allowed and a plain invoker is not.
const replicaOnly: readonly Attempt[] = [
  subscribing("a function's calls, in the queue group", "busker.invoke.openfaas-fn.mine", "replicas"),
  subscribing("one replica's calls", "busker.invoke.openfaas-fn.mine.mine-1"),
  subscribing("a replica's control", "busker.replica-control.mine-1"),
  subscribing("demands", "busker.demand.openfaas-fn.mine"),
  publishing("a sample", "busker.metric.openfaas-fn.mine.mine-1"),
  publishing("a log line", "busker.log.openfaas-fn.mine.mine-1"),
  publishing("a span", "busker.span.openfaas-fn.mine.mine-1"),
  publishing("an event that is kept", "busker.stream.openfaas-fn.mine.abc"),
  publishing("a replica's readiness", "busker.replica.ready.openfaas-fn.mine.mine-1"),
  publishing("a reply", "_BUSKER.gateway.call.openfaas-fn.mine.abc.1"),
  publishing("a plain reply", "_INBOX.abc.1"),
];

/** What calling functions takes: the calls, a demand where nobody is ready, and words to the replica that has a call. */
const invokes = (attempt: Attempt): boolean =>
  /^publish busker\.(invoke|demand|replica-control|async)\./.test(attempt.refused);

describe("operator mode", () => {
  let nats: TestNats;
  let admin: Bus;
  let replica: WatchedClient;
  let invoker: WatchedClient;

  before(async () => {
    nats = await startTestNats();
    const { signer } = nats.trust;
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    await ensureTopology(admin);
    replica = await connectWatched(
      nats,
      await mintFunctionUser({ signer, ...own, ttlMs: hourMs }),
      subjects.inboxPrefix(own.replica),
    );
    invoker = await connectWatched(nats, await mintInvokeUser({ signer, ttlMs: hourMs }), "_INBOX");
  });

  after(async () => {
    await Promise.all([replica?.close(), invoker?.close(), admin?.close()]);
    await nats?.stop();
  });

  describe("a replica's credentials", () => {
    for (const { what, act, refused } of attempts)
      it(`may not ${what}, because it is not this replica's`, async () => {
        expect(await replica.refusals(act)).to.deep.equal([refused]);
      });

    it("answer a call in 500 messages on one reply subject, because a response may be streamed", async () => {
      const reply = `${subjects.callReplyPrefix("admin", own.namespace, own.name)}.abc.1`;
      const chunks: string[] = [];
      const all = new Promise<void>((resolve) => {
        admin.nc.subscribe(reply, {
          callback: (_, message) => void (chunks.push(message.string()) === 500 && resolve()),
        });
      });
      const refusals = await replica.refusals((nc) => {
        nc.subscribe(subjects.invokeSubject(own.namespace, own.name), {
          queue: subjects.replicaQueueGroup,
          max: 1,
          callback: (_, message) => {
            for (let i = 0; i < 500; i += 1) message.respond(String(i));
          },
        });
      });
      admin.nc.publish(subjects.invokeSubject(own.namespace, own.name), "go", { reply });
      await all;
      expect(refusals).to.deep.equal([]);
      expect(chunks).to.deep.equal(Array.from({ length: 500 }, (_, i) => String(i)));
    });

    it("answer a bare client with nothing but the invoke credentials, because anyone may call", async () => {
      replica.nc.subscribe(subjects.invokeSubject(own.namespace, own.name), {
        queue: subjects.replicaQueueGroup,
        max: 1,
        callback: (_, message) => void message.respond(`hello ${message.string()}`),
      });
      await replica.nc.flush();
      const answer = await invoker.nc.request(subjects.invokeSubject(own.namespace, own.name), "you", {
        timeout: 2000,
      });
      expect(answer.string()).to.equal("hello you");
    });

    const passing: readonly (readonly [string, (nc: NatsConnection) => void])[] = [
      ["tell of its own metrics", (nc) => nc.publish(subjects.metricSubject(own.namespace, own.name, own.replica))],
      ["tell of its own spans", (nc) => nc.publish(subjects.spanSubject(own.namespace, own.name, own.replica))],
      ["write its own log", (nc) => nc.publish(subjects.logSubject(own.namespace, own.name, own.replica))],
      [
        "tell of its own state",
        (nc) => nc.publish(subjects.replicaSubject("ready", own.namespace, own.name, own.replica)),
      ],
      ["record its finished calls", (nc) => nc.publish(subjects.callSubject("done", own.namespace, own.name))],
      ["keep its events", (nc) => nc.publish(subjects.keptPartsSubject(own.namespace, own.name, "abc"))],
      ["keep the head of an answer", (nc) => nc.publish(subjects.keptHeadSubject(own.namespace, own.name, "abc"))],
      ["pass a call on", (nc) => nc.publish(subjects.invokeSubject(own.namespace, own.name))],
      ["listen to its control", (nc) => void nc.subscribe(subjects.replicaControlSubject(own.replica), { max: 1 })],
      [
        "listen to demand for it",
        (nc) => void nc.subscribe(subjects.demandSubject(own.namespace, own.name), { max: 1 }),
      ],
      [
        "take calls that are for it alone",
        (nc) => void nc.subscribe(subjects.invokeReplicaSubject(own.namespace, own.name, own.replica), { max: 1 }),
      ],
      [
        "take chunks of a body",
        (nc) => void nc.subscribe(`${subjects.callReplyPrefix(own.replica, own.namespace, own.name)}.1`, { max: 1 }),
      ],
    ];
    for (const [what, act] of passing)
      it(`may ${what}, because that is its work`, async () => {
        expect(await replica.refusals(act)).to.deep.equal([]);
      });

    it("cannot write a key by answering a call that it sent itself, because there is no response permission", async () => {
      const kv = await new Kvm(jetstream(admin.nc)).open("functions");
      const told = new Promise<void>((resolve) => {
        replica.nc.subscribe(subjects.invokeReplicaSubject(own.namespace, own.name, own.replica), {
          max: 1,
          callback: (_, message) => {
            message.respond("forged");
            resolve();
          },
        });
      });
      await replica.nc.flush();
      admin.nc.publish(subjects.invokeReplicaSubject(own.namespace, own.name, own.replica), "", {
        reply: "$KV.functions.forged",
      });
      await told;
      await replica.nc.flush();
      expect(await kv.get("forged")).to.equal(null);
    });

    for (const [stream, subject] of [
      ["SAMPLES", subjects.metricSubject(own.namespace, own.name, own.replica)],
      ["LOGS", subjects.logSubject(own.namespace, own.name, own.replica)],
      ["REPLICAS", subjects.replicaSubject("ready", own.namespace, own.name, own.replica)],
      ["RECORD", subjects.callSubject("done", own.namespace, own.name)],
      ["STREAMS", subjects.keptPartsSubject(own.namespace, own.name, "def")],
    ] as const)
      it(`cannot write a key by the acknowledgement of stream ${stream}, because there is none`, async () => {
        const kv = await new Kvm(jetstream(admin.nc)).open("functions");
        const before = (await (await jetstream(admin.nc).jetstreamManager()).streams.info(stream)).state.last_seq;
        const options = headers();
        options.set("Nats-Expected-Last-Sequence", "999999");
        replica.nc.publish(subject, "{}", { reply: `$KV.functions.${stream}` });
        replica.nc.publish(subject, "{}", { reply: `$KV.functions.${stream}`, headers: options });
        await replica.nc.flush();
        const state = (await (await jetstream(admin.nc).jetstreamManager()).streams.info(stream)).state;
        expect(state.last_seq, "the stream has taken the first").to.equal(before + 1);
        expect(await kv.get(stream)).to.equal(null);
      });
  });

  describe("the invoke credentials", () => {
    for (const { what, act, refused } of [...attempts.filter((attempt) => !invokes(attempt)), ...replicaOnly])
      it(`may not ${what}, because they only invoke`, async () => {
        expect(await invoker.refusals(act)).to.deep.equal([refused]);
      });

    for (const { what, act } of attempts.filter(invokes))
      it(`may ${what}, because that is what they are for`, async () => {
        expect(await invoker.refusals(act)).to.deep.equal([]);
      });
  });

  it("takes a replica with the longest names there are, because its permissions still fit the server's line", async () => {
    const longest = { namespace: "n".repeat(63), name: "f".repeat(63), replica: "r".repeat(128) };
    const creds = await mintFunctionUser({ signer: nats.trust.signer, ...longest, ttlMs: hourMs });
    const client = await connectWatched(nats, creds, subjects.inboxPrefix(longest.replica));
    expect(
      await client.refusals((nc) => nc.publish(subjects.logSubject(longest.namespace, longest.name, longest.replica))),
    ).to.deep.equal([]);
    await client.close();
  });

  it("refuses credentials whose time is over, because a stolen copy must not last", async () => {
    const creds = await mintFunctionUser({ signer: nats.trust.signer, ...own, ttlMs: -60_000 });
    const refused = await connectWatched(nats, creds, subjects.inboxPrefix(own.replica)).then(
      async (client) => {
        await client.close();
        return "";
      },
      (error: unknown) => String(error),
    );
    expect(refused).to.match(/authori[sz]ation|authentication|expired/i);
  });

  it("refuses a client without credentials, because nobody is anonymous", async () => {
    const { connect } = await import("nats");
    const refused = await connect({ servers: nats.url, reconnect: false }).then(
      async (nc) => {
        await nc.close();
        return "";
      },
      (error: unknown) => String(error),
    );
    expect(refused).to.match(/authori[sz]ation/i);
  });

  // Last, because the bare clients do not come back.
  describe("a restart", () => {
    it("keeps accounts, streams and credentials over a restart, because keys are made once", async () => {
      const kv = await new Kvm(jetstream(admin.nc)).open("namespaces");
      await kv.put("kept", "yes");
      const back = new Promise<void>((resolve) => {
        const stop = admin.onChange((connected) => {
          if (!connected) return;
          stop();
          resolve();
        });
      });
      await nats.restart();
      await back;
      expect((await kv.get("kept"))?.string()).to.equal("yes");
    });
  });
});
