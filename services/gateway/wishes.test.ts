import { expect } from "chai";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { BuskerError } from "../../schemas/errors.ts";
import { functionAnyFilter, functionProgressSubject, functionSubject } from "../../schemas/subjects.ts";
import { type Bus, openBus } from "../bus/connection.ts";
import { publishEvent, readEvent } from "../bus/events.ts";
import { ensureTopology } from "../bus/topology.ts";
import { openWishes, type Wishes } from "./wishes.ts";

const namespace = "openfaas-fn";
const timeoutMs = 300;
const spec = { namespace, image: "x:1" };

describe("openWishes()", () => {
  let nats: TestNats;
  let provider: Bus;
  let gateway: Bus;
  let wishes: Wishes;
  let onWish: (name: string, id: string) => void = () => {};

  const open = (user: "gateway" | "provider") =>
    openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });
  const tell = (name: string, wish: string, message: string): void => {
    publishEvent(provider, {
      subject: functionProgressSubject(namespace, name),
      type: "io.busker.function.progress",
      data: { wish, message },
    });
  };
  const succeed = (name: string, wish: string): void => {
    publishEvent(provider, {
      subject: functionSubject("deployed", namespace, name),
      type: "io.busker.function.deployed",
      data: { wish, replicas: 1, availableReplicas: 1 },
    });
  };
  /** Tells progress three times in a wish's patience, for `times` times that patience, and then lets `then` end it. */
  const tellFor = (name: string, wish: string, times: number, then: () => void): void => {
    let left = times * 3;
    const timer = setInterval(() => {
      left -= 1;
      if (left >= 0) return tell(name, wish, `${left} left`);
      clearInterval(timer);
      then();
    }, timeoutMs / 3);
  };

  before(async () => {
    nats = await startTestNats();
    [provider, gateway] = await Promise.all([open("provider"), open("gateway")]);
    await ensureTopology(provider);
    provider.nc.subscribe(functionAnyFilter, {
      callback: (_error, message) => {
        const [, , verb, , name = ""] = message.subject.split(".");
        if (verb !== "deploy") return;
        onWish(name, readEvent(message).id);
      },
    });
    await provider.nc.flush();
    wishes = openWishes(gateway, timeoutMs);
    await gateway.nc.flush();
  });
  after(async () => {
    wishes?.stop();
    await Promise.all([provider?.close(), gateway?.close()]);
    await nats?.stop();
  });
  afterEach(() => {
    onWish = () => {};
  });
  const deploy = (name: string, told?: string[]) =>
    wishes.make("deploy", { namespace, name }, { spec: { ...spec, name } }, (progress) => told?.push(progress));

  it("waits on as long as progress is told, and passes it on, because a pull takes minutes", async () => {
    const told: string[] = [];
    onWish = (name, id) => tellFor(name, id, 4, () => succeed(name, id));
    const beganMs = performance.now();
    expect(await deploy("slow", told)).to.include({ replicas: 1 });
    expect(performance.now() - beganMs).to.be.greaterThan(3 * timeoutMs);
    expect(told).to.have.length(12);
  });

  it("gives up when no more is told", async () => {
    onWish = (name, id) => tellFor(name, id, 1, () => {});
    const error = await deploy("hangs").catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(BuskerError).with.property("code", "provider_unavailable");
  });

  it("waits for a wish behind another of the same function, without its progress, and not for one of another", async () => {
    const told: string[] = [];
    onWish = (name, id) => name === "first" && tellFor(name, id, 3, () => succeed(name, id));
    const first = deploy("first");
    const behind = wishes.make("scale", { namespace, name: "first" }, { replicas: 1 }, (progress) =>
      told.push(progress),
    );
    const other = deploy("other").catch((thrown: unknown) => thrown);
    const raced = await Promise.race([other, behind.catch(() => "behind")]);
    expect(raced).to.be.instanceOf(BuskerError);
    await first;
    expect(await behind.catch((thrown: unknown) => thrown)).to.be.instanceOf(BuskerError);
    expect(told).to.deep.equal([]);
  });
});
