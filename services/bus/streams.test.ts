import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import type { EventData } from "../../schemas/events.ts";
import { functionSubject, logFilter, logSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import { collect, within } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { publishEvent, readEvent } from "./events.ts";
import { publishDurably, readStream, type StreamMessage } from "./streams.ts";
import { ensureTopology } from "./topology.ts";

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );

describe("streams", () => {
  let nats: TestNats;
  let bus: Bus;
  let names = 0;
  const stops: (() => void)[] = [];
  const nextName = (): string => {
    names += 1;
    return `fn${names}`;
  };

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("provider"), user: "provider", name: "test" });
    await ensureTopology(bus);
  });

  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  describe("publishDurably()", () => {
    const scale = (name: string, id?: string) => ({
      subject: functionSubject("scale", "openfaas-fn", name),
      type: "io.busker.function.scale" as const,
      data: { replicas: 2 },
      ...(id === undefined ? {} : { id }),
    });
    const kept = async (name: string): Promise<number> => {
      const subject = functionSubject("scale", "openfaas-fn", name);
      const { state } = await (await jetstreamManager(bus.nc)).streams.info("OPERATIONS", { subjects_filter: subject });
      return state.subjects?.[subject] ?? 0;
    };

    it("resolves with the event's id once the stream has the event, as a CloudEvent in binary mode", async () => {
      const name = nextName();
      const id = await publishDurably(bus, scale(name));
      const stored = await (
        await jetstreamManager(bus.nc)
      ).streams.getMessage("OPERATIONS", {
        last_by_subj: functionSubject("scale", "openfaas-fn", name),
      });
      expect(stored?.header.get("ce-id")).to.equal(id);
      expect(stored?.header.get("Nats-Msg-Id")).to.equal(id);
      expect(stored?.header.get("ce-type")).to.equal("io.busker.function.scale");
      expect(stored?.header.get("ce-source")).to.equal("/busker/test");
      expect(stored?.json()).to.deep.equal({ replicas: 2 });
    });

    it("swallows repeats with the same id, so that a crash in between may repeat its writes", async () => {
      const name = nextName();
      const ids = [await publishDurably(bus, scale(name, "one")), await publishDurably(bus, scale(name, "one"))];
      expect(ids).to.deep.equal(["one", "one"]);
      expect(await kept(name)).to.equal(1);
      await publishDurably(bus, scale(name, "two"));
      expect(await kept(name)).to.equal(2);
    });

    it("swallows repeats over a restart of the server", async () => {
      const name = nextName();
      await publishDurably(bus, scale(name, "over a restart"));
      const changes = collect<boolean>();
      const unlisten = bus.onChange(changes.push);
      await nats.restart();
      await changes.reach(2);
      unlisten();
      await publishDurably(bus, scale(name, "over a restart"));
      expect(await kept(name)).to.equal(1);
    });

    it("keeps an id from adding headers, whatever stands in it", async () => {
      const name = nextName();
      const id = "a\r\nNats-Rollup: all\r\nx: é";
      await publishDurably(bus, scale(name, id));
      const consumer = await jetstream(bus.nc).consumers.get("OPERATIONS", {
        filter_subjects: functionSubject("scale", "openfaas-fn", name),
      });
      const message = await consumer.next({ expires: 2000 });
      expect(message?.headers?.has("Nats-Rollup")).to.equal(false);
      expect(message && readEvent(message).id).to.equal(id);
    });

    it("rejects as bus_unavailable when no stream keeps the subject, naming it", async () => {
      const event = {
        subject: "busker.demand.openfaas-fn.fn",
        type: "io.busker.demand" as const,
        data: { waiting: 1 },
      };
      const error = await rejection(publishDurably(bus, event));
      expect(error).to.have.property("code", "bus_unavailable");
      expect(String(error)).to.contain("busker.demand.openfaas-fn.fn");
    });

    it("rejects as body_too_large what the server would not take", async () => {
      const name = nextName();
      const spec = { name, namespace: "openfaas-fn", image: "x".repeat(9_000_000) };
      const event = {
        subject: functionSubject("deploy", "openfaas-fn", name),
        type: "io.busker.function.deploy" as const,
        data: { spec },
      };
      expect(await rejection(publishDurably(bus, event))).to.have.property("code", "body_too_large");
    });

    it("rejects at once while the server is away, so that nothing waits in a buffer unseen", async () => {
      const changes = collect<boolean>();
      const unlisten = bus.onChange(changes.push);
      await nats.kill();
      await changes.reach(1);
      expect(await within(rejection(publishDurably(bus, scale("fn"))), "a rejection", 4000)).to.have.property(
        "code",
        "bus_unavailable",
      );
      await nats.restart();
      await changes.reach(2);
      unlisten();
    });
  });

  describe("readEvent()", () => {
    it("rejects data that is not JSON as invalid_request, naming the subject", async () => {
      const errors = collect<unknown>();
      const subscription = bus.nc.subscribe("busker.demand.openfaas-fn.bad", {
        callback: (_, message) => {
          try {
            readEvent(message);
          } catch (error) {
            errors.push(error);
          }
        },
      });
      for (const payload of ["", "{", "\xff"]) bus.nc.publish("busker.demand.openfaas-fn.bad", payload);
      for (const error of await errors.reach(3)) {
        expect(error).to.have.property("code", "invalid_request");
        expect(String(error)).to.contain("busker.demand.openfaas-fn.bad");
      }
      subscription.unsubscribe();
    });
  });

  describe("readStream()", () => {
    const say = (name: string, text: string): void => {
      const line = { at: new Date().toISOString(), stream: "stderr" as const, text };
      publishEvent(bus, {
        subject: logSubject("openfaas-fn", name, "r1"),
        type: "io.busker.log",
        data: { lines: [line] },
      });
    };
    const textOf = ({ data }: StreamMessage): string =>
      (JSON.parse(Buffer.from(data).toString()) as EventData["io.busker.log"]).lines[0]?.text ?? "";
    const follow = async (name: string, since: Date, onText?: (text: string) => void) => {
      const seen = collect<string>();
      const filter = logFilter("openfaas-fn", name);
      const stop = await readStream(
        bus,
        { stream: streams.LOGS, filter, since },
        (message) => {
          seen.push(textOf(message));
          onText?.(textOf(message));
        },
        () => seen.push("caught up"),
      );
      stops.push(stop);
      return { seen, stop };
    };

    it("says caught up at once on a stream that holds nothing, then tells what comes", async () => {
      const name = nextName();
      const { seen } = await follow(name, new Date(0));
      expect(seen.all).to.deep.equal(["caught up"]);
      say(name, "first");
      say(name, "second");
      expect(await seen.reach(3)).to.deep.equal(["caught up", "first", "second"]);
    });

    it("tells what was there in order, says caught up once, then what comes", async () => {
      const name = nextName();
      const texts = Array.from({ length: 2500 }, (_, n) => `line ${n}`);
      for (const text of texts) say(name, text);
      await bus.nc.flush();
      const { seen } = await follow(name, new Date(0));
      await seen.reach(2501);
      say(name, "later");
      expect(await seen.reach(2502)).to.deep.equal([...texts, "caught up", "later"]);
    });

    it("says caught up after what was there when it began, though as much comes as is read", async () => {
      const name = nextName();
      const count = 2500;
      for (let n = 0; n < count; n += 1) say(name, "there");
      await bus.nc.flush();
      const answer = (): void => {
        if (seen.all.length < 3 * count) say(name, "came meanwhile");
      };
      const { seen } = await follow(name, new Date(0), answer);
      await seen.until((all) => all.includes("caught up"), "it to catch up");
      expect(seen.all.indexOf("caught up")).to.equal(count);
    });

    it("tells only what came since the time given", async () => {
      const name = nextName();
      say(name, "old");
      await bus.nc.flush();
      const { state } = await (await jetstreamManager(bus.nc)).streams.info("LOGS");
      const since = new Date(Date.parse(state.last_ts) + 1);
      while (Date.now() <= since.getTime());
      say(name, "new");
      await bus.nc.flush();
      const { seen } = await follow(name, since);
      expect(await seen.reach(2)).to.deep.equal(["new", "caught up"]);
    });

    it("tells nothing after it is stopped", async () => {
      const name = nextName();
      const { seen, stop } = await follow(name, new Date(0));
      stop();
      const other = await follow(name, new Date(0));
      say(name, "unheard");
      await other.seen.reach(2);
      expect(seen.all).to.deep.equal(["caught up"]);
    });

    it("goes on when a reader throws, and says so", async () => {
      const name = nextName();
      const warnings = collect<Error>();
      process.on("warning", warnings.push);
      const { seen } = await follow(name, new Date(0), () => {
        throw new Error("a faulty reader");
      });
      say(name, "one");
      say(name, "two");
      await seen.reach(3);
      await warnings.until((all) => all.some(({ message }) => message.includes("a faulty reader")), "a warning");
      process.off("warning", warnings.push);
    });

    for (const how of ["restart", "kill"] as const)
      it(`goes on after a ${how} of the server: each line once, within a few seconds`, async () => {
        const name = nextName();
        say(name, "before");
        await bus.nc.flush();
        const { seen } = await follow(name, new Date(0));
        await seen.reach(2);
        const changes = collect<boolean>();
        const unlisten = bus.onChange(changes.push);
        if (how === "kill") await nats.kill();
        await nats.restart();
        await changes.reach(2);
        unlisten();
        say(name, "after");
        await seen.reach(3, 10_000);
        say(name, "last");
        expect(await seen.reach(4)).to.deep.equal(["before", "caught up", "after", "last"]);
      });

    it("rejects as bus_unavailable when there is no such stream, naming it", async () => {
      const stream = { ...streams.LOGS, name: "NOWHERE" };
      const error = await rejection(
        readStream(
          bus,
          { stream, filter: ">", since: new Date() },
          () => {},
          () => {},
        ),
      );
      expect(error).to.have.property("code", "bus_unavailable");
      expect(String(error)).to.contain("NOWHERE");
    });
  });
});
