import { jetstream, jetstreamManager, type JsMsg } from "@nats-io/jetstream";
import { expect } from "chai";
import { callSubject, functionSubject, functionVerbFilter, outcomeSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import { collect, openGate, within } from "../../test/support/collector.ts";
import { eventually } from "../../test/support/platform.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { consumeDurably, type ConsumerOptions, type Disposition } from "./consume.ts";
import { ensureTopology } from "./topology.ts";

const done: Disposition = { kind: "done" };

describe("consumeDurably()", () => {
  let nats: TestNats;
  let bus: Bus;
  let names = 0;
  const stops: (() => Promise<void>)[] = [];
  const open = (name = "test") =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name });

  /** Options of a consumer of its own function, so that no test sees another's messages. */
  const own = (more: Partial<ConsumerOptions> = {}): ConsumerOptions & { readonly subject: string } => {
    names += 1;
    const subject = callSubject("queued", "openfaas-fn", `fn${names}`);
    return {
      stream: streams.CALLS,
      durable: `c${names}`,
      filters: [subject],
      concurrency: 4,
      leaseMs: 2000,
      ...more,
      subject,
    };
  };
  const publish = async (subject: string, bodies: readonly string[]): Promise<void> => {
    for (const body of bodies) await jetstream(bus.nc).publish(subject, body);
  };
  const consume = async (on: Bus, options: ConsumerOptions, handler: (message: JsMsg) => Promise<Disposition>) => {
    const stop = await consumeDurably(on, options, handler);
    stops.push(stop);
    return stop;
  };
  const unsettled = async ({ stream, durable }: ConsumerOptions): Promise<number> => {
    const info = await (await jetstreamManager(bus.nc)).consumers.info(stream.name, durable);
    return info.num_pending + info.num_ack_pending;
  };
  /** Asks the server until it has seen every acknowledgement; they travel without an answer. */
  const untilSettled = async (options: ConsumerOptions): Promise<void> => {
    const look = async (): Promise<void> => {
      while ((await unsettled(options)) > 0);
    };
    await within(look(), `everything settled of ${options.durable}`);
  };

  before(async () => {
    nats = await startTestNats();
    bus = await open();
    await ensureTopology(bus);
  });

  afterEach(async () => {
    await Promise.all(stops.splice(0).map((stop) => stop()));
  });

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  it("hands over what was there before it and what comes after, in order, and acknowledges it", async () => {
    const options = own({ concurrency: 1 });
    const got = collect<string>();
    await publish(options.subject, ["a", "b"]);
    await consume(bus, options, async (message) => (got.push(message.string()), done));
    await publish(options.subject, ["c"]);
    expect(await got.reach(3)).to.deep.equal(["a", "b", "c"]);
    await untilSettled(options);
  });

  it("runs as many handlers as its concurrency and takes no more from the server, so that an idle process gets the rest", async () => {
    const options = own({ concurrency: 3 });
    const gate = openGate();
    const begun = collect<string>();
    await publish(options.subject, ["1", "2", "3", "4", "5", "6", "7"]);
    const hold = async (message: JsMsg): Promise<Disposition> => {
      begun.push(message.string());
      await gate.opened;
      return done;
    };
    await consume(bus, options, hold);
    await begun.reach(3);
    const info = await (await jetstreamManager(bus.nc)).consumers.info(options.stream.name, options.durable);
    expect(info.num_ack_pending).to.equal(3);
    const other = collect<string>();
    await consume(bus, { ...options, concurrency: 4 }, async (message) => (other.push(message.string()), done));
    expect(await other.reach(4)).to.have.members(["4", "5", "6", "7"]);
    expect(begun.all).to.deep.equal(["1", "2", "3"]);
    gate.open();
    await untilSettled(options);
  });

  it("frees a place as soon as a handler ends, while others run on", async () => {
    const options = own({ concurrency: 2 });
    const gate = openGate();
    const got = collect<string>();
    await publish(options.subject, ["slow", "1", "2", "3", "4", "5"]);
    await consume(bus, options, async (message) => {
      if (message.string() === "slow") await gate.opened;
      else got.push(message.string());
      return done;
    });
    expect(await got.reach(5)).to.deep.equal(["1", "2", "3", "4", "5"]);
    gate.open();
  });

  it("extends the lease while a handler runs, so that one longer than leaseMs is not delivered twice", async () => {
    const options = own({ leaseMs: 600 });
    const deliveries = collect<number>();
    const later = own({ durable: `${options.durable}-probe`, leaseMs: 600, filters: options.filters });
    await publish(options.subject, ["long"]);
    const gate = openGate();
    await consume(bus, options, async (message) => {
      deliveries.push(message.info.deliveryCount);
      await gate.opened;
      return done;
    });
    // Another consumer without renewal tells when three leases would have run out: the server delivers to it again.
    const probe = collect<number>();
    await (
      await jetstreamManager(bus.nc)
    ).consumers.add(options.stream.name, {
      durable_name: later.durable,
      filter_subject: options.subject,
      ack_policy: "explicit",
      ack_wait: 600 * 1e6,
    });
    const messages = await (await jetstream(bus.nc).consumers.get(options.stream.name, later.durable)).consume();
    void (async () => {
      for await (const message of messages) probe.push(message.info.deliveryCount);
    })();
    await probe.reach(4);
    await messages.close();
    expect(deliveries.all).to.deep.equal([1]);
    gate.open();
    await untilSettled(options);
  });

  it("hands a delivery over when its holder dies, once the lease has lapsed", async () => {
    const options = own({ leaseMs: 700 });
    const dying = await open("dying");
    const begun = collect<string>();
    await publish(options.subject, ["orphan"]);
    // Not among `stops`: its handler never ends, as that of a dead process.
    await consumeDurably(dying, options, async (message) => {
      begun.push(message.string());
      return new Promise<Disposition>(() => {});
    });
    await begun.reach(1);
    await dying.nc.close();
    const heirs = collect<{ body: string; count: number }>();
    await consume(
      bus,
      options,
      async (message) => (heirs.push({ body: message.string(), count: message.info.deliveryCount }), done),
    );
    expect(await heirs.reach(1)).to.deep.equal([{ body: "orphan", count: 2 }]);
    await untilSettled(options);
  });

  it("brings a message back after the delay a handler asks for, and not before", async () => {
    const options = own();
    const at = collect<number>();
    await publish(options.subject, ["again"]);
    await consume(bus, options, async () => {
      at.push(performance.now());
      return at.all.length === 1 ? { kind: "retry", delayMs: 400.5 } : done;
    });
    const [first = 0, second = 0] = await at.reach(2);
    expect(second - first).to.be.within(395, 8000);
    await untilSettled(options);
  });

  it("never delivers a dead message again, on nats-server 2.9 too, which knows no reason", async () => {
    const options = own({ concurrency: 1, leaseMs: 500 });
    const got = collect<string>();
    await publish(options.subject, ["poison", "next"]);
    await consume(bus, options, async (message) => {
      got.push(message.string());
      return message.string() === "poison" ? { kind: "dead", reason: "cannot be read" } : done;
    });
    await got.reach(2);
    await untilSettled(options);
    expect(got.all).to.deep.equal(["poison", "next"]);
  });

  it("brings a message back whose handler throws, and says so", async () => {
    const options = own();
    const warnings = collect<Error>();
    process.on("warning", warnings.push);
    const got = collect<number>();
    await publish(options.subject, ["x"]);
    await consume(bus, options, async (message) => {
      got.push(message.info.deliveryCount);
      if (got.all.length === 1) throw new Error("a faulty handler");
      return done;
    });
    expect(await got.reach(2)).to.deep.equal([1, 2]);
    await warnings.until((all) => all.some(({ message }) => message.includes("a faulty handler")), "a warning");
    process.off("warning", warnings.push);
  });

  it("handles only what its filters match, though several are more than nats-server 2.9 can apply", async () => {
    const filters = [functionVerbFilter("deploy"), functionVerbFilter("remove")];
    const options = { ...own(), stream: streams.OPERATIONS, filters };
    const got = collect<string>();
    for (const verb of ["deploy", "deployed", "scale", "remove"] as const)
      await publish(functionSubject(verb, "openfaas-fn", "fn"), [verb]);
    await consume(bus, options, async (message) => (got.push(message.string()), done));
    await got.reach(2);
    await untilSettled(options);
    expect(got.all).to.deep.equal(["deploy", "remove"]);
  });

  it("changes a consumer that is there with other settings, because an upgrade brings them", async () => {
    const options = own({ leaseMs: 2000 });
    const stop = await consumeDurably(bus, options, async () => done);
    await stop();
    const again = await consumeDurably(bus, { ...options, leaseMs: 3000, concurrency: 9 }, async () => done);
    await again();
    const info = await (await jetstreamManager(bus.nc)).consumers.info(options.stream.name, options.durable);
    expect(info.config.ack_wait).to.equal(3000 * 1e6);
  });

  it("gives a stop that waits for what is being handled and leaves the rest", async () => {
    const options = own({ concurrency: 1 });
    const gate = openGate();
    const begun = collect<string>();
    let settled = false;
    await publish(options.subject, ["1", "2"]);
    const stop = await consumeDurably(bus, options, async (message) => {
      begun.push(message.string());
      await gate.opened;
      settled = true;
      return done;
    });
    await begun.reach(1);
    const stopped = stop();
    expect(settled).to.equal(false);
    gate.open();
    await within(stopped, "stop()");
    expect(settled).to.equal(true);
    await bus.nc.flush();
    expect(begun.all).to.deep.equal(["1"]);
    expect(await unsettled(options)).to.equal(1);
  });

  for (const how of ["restart", "kill"] as const)
    it(`goes on after a ${how} of the server, with what was in hand and what comes after`, async () => {
      const options = own({ concurrency: 2, leaseMs: 1000 });
      const gate = openGate();
      const got = collect<string>();
      await publish(options.subject, ["in hand"]);
      await consume(bus, options, async (message) => {
        got.push(message.string());
        if (message.string() === "in hand") await gate.opened;
        return done;
      });
      await got.reach(1);
      const changes = collect<boolean>();
      const unlisten = bus.onChange(changes.push);
      if (how === "kill") await nats.kill();
      await nats.restart();
      await changes.reach(2);
      unlisten();
      gate.open();
      await publish(options.subject, ["after"]);
      await got.until((all) => all.includes("after"), "what came after");
      await untilSettled(options);
    });

  it("makes its consumer again when somebody has removed it", async () => {
    const options = own();
    const got = collect<string>();
    await consume(bus, options, async (message) => (got.push(message.string()), done));
    await publish(options.subject, ["before"]);
    await got.reach(1);
    await untilSettled(options);
    await (await jetstreamManager(bus.nc)).consumers.delete(options.stream.name, options.durable);
    await publish(options.subject, ["after"]);
    await got.until((all) => all.includes("after"), "what came after");
  });

  it("rejects as bus_unavailable when there is no such stream, naming it", async () => {
    const options = { ...own(), stream: { ...streams.CALLS, name: "NOWHERE" } };
    const error = await consumeDurably(bus, options, async () => done).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.have.property("code", "bus_unavailable");
    expect(String(error)).to.contain("NOWHERE");
  });

  it("loses nothing and handles nothing at the same time twice under load by two processes", async () => {
    const options = own({ concurrency: 5, filters: [callSubject("queued", "openfaas-fn", "load")] });
    const second = await open("second");
    const got = collect<string>();
    const bodies = Array.from({ length: 400 }, (_, n) => String(n));
    const handler = async (message: JsMsg): Promise<Disposition> => (got.push(message.string()), done);
    const both = [await consumeDurably(bus, options, handler), await consumeDurably(second, options, handler)];
    await Promise.all(
      bodies.map((body) => jetstream(bus.nc).publish(callSubject("queued", "openfaas-fn", "load"), body)),
    );
    await got.reach(400);
    await untilSettled(options);
    expect([...got.all].toSorted()).to.deep.equal([...bodies].toSorted());
    await Promise.all(both.map((stop) => stop()));
    await second.close();
  });

  it("leaves nothing in a work queue that is over, also when the server was killed at the same time", async function () {
    this.timeout(60_000);
    const subject = outcomeSubject("openfaas-fn", "killed");
    const options = own({ stream: streams.OUTCOMES, filters: [subject], concurrency: 50 });
    const got = collect<string>();
    await consume(bus, options, async (message) => (got.push(message.string()), done));
    for (let count = 0; count < 500; count += 1) bus.nc.publish(subject, String(count));
    await got.reach(500);
    await nats.kill();
    await nats.restart();
    const waiting = async (): Promise<number> => {
      try {
        return (await (await jetstreamManager(bus.nc)).streams.info("OUTCOMES")).state.messages;
      } catch {
        return -1;
      }
    };
    await eventually("nothing is left", async () => (await waiting()) === 0 || undefined, 20_000);
  });
});
