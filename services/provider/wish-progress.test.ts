import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { defaultNamespace as namespace } from "../../schemas/names.ts";
import { openBus } from "../bus/connection.ts";
import { silentLog } from "../runtime/log.ts";
import type { Backend } from "./backend.ts";
import { startTestPlatform, type TestPlatform, untilValue } from "./fixtures/test-provider.ts";
import { openProvider, type Provider } from "./provider.ts";
import type { SecretStore } from "./secret-store.ts";

// No function of these tests has one.
const noSecrets = { onChange: () => {}, stop: () => {} } as Partial<SecretStore> as SecretStore;

/** A backend on which nothing runs, but for what a test gives it. */
const backendOf = (own: Partial<Backend>): Backend => ({
  prepare: () => Promise.resolve(() => {}),
  listUnenforced: () => [],
  cores: () => undefined,
  start: () => Promise.reject(new Error("nothing can be started here")),
  renewSecret: () => {},
  stop: () => {},
  kill: () => {},
  adopt: () => Promise.resolve([]),
  onExit: () => {},
  collect: () => Promise.resolve(),
  close: () => {},
  ...own,
});

describe("a wish that takes a while", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let providers: Provider[] = [];

  const open = async (own: Partial<Backend>): Promise<Provider> => {
    const { nats } = platform;
    const bus = await openBus({
      url: nats.url,
      credentialsFile: nats.credsFile("provider"),
      user: "provider",
      name: "provider",
    });
    const provider = await openProvider({ bus, backend: backendOf(own), secrets: noSecrets, log: silentLog });
    const opened = { stop: () => provider.stop().then(bus.close), leave: () => provider.leave().then(bus.close) };
    providers.push(opened);
    return opened;
  };
  const progressOf = (name: string): readonly unknown[] =>
    platform.events
      .all()
      .filter(({ subject }) => subject === `busker.function.progress.${namespace}.${name}`)
      .map(({ data }) => data);

  before(async () => {
    platform = await startTestPlatform();
  });
  after(() => platform?.stop());
  afterEach(async () => {
    for (const provider of providers.splice(0)) await provider.leave();
    providers = [];
  });
  const atZero = { labels: { "com.openfaas.scale.min": "0" } };

  it("tells what its backend tells, before its outcome", async () => {
    await open({
      prepare: (spec, tell) => {
        tell(`pulling ${spec.image}`);
        tell(`pulling ${spec.image}: 1 of 2 layers`);
        return Promise.resolve(() => {});
      },
    });
    const outcome = await platform.deploy({ name: "slow", image: "x:1", ...atZero });
    expect(outcome.subject).to.contain(".deployed.");
    const wish = outcome.data["wish"];
    expect(progressOf("slow")).to.deep.equal([
      { wish, message: "pulling x:1" },
      { wish, message: "pulling x:1: 1 of 2 layers" },
    ]);
  });

  it("leaves nothing when what it runs from cannot be had, and says why", async () => {
    await open({
      prepare: () => Promise.reject(new BuskerError("registry_unavailable", "could not pull image x:1: no such host")),
    });
    const outcome = await platform.deploy({ name: "nowhere", image: "x:1" });
    expect(outcome.data).to.include({
      code: "registry_unavailable",
      message: "could not pull image x:1: no such host",
    });
    expect(await platform.functions.get(`nowhere.${namespace}`)).to.equal(undefined);
  });

  it("does not hold up a provider that ends, and is carried on by the next", async () => {
    let begun = (): void => {};
    const isPreparing = new Promise<void>((resolve) => {
      begun = resolve;
    });
    let releaseLate: (release: () => void) => void = () => {};
    const first = await open({
      prepare: () => {
        begun();
        return new Promise((resolve) => {
          releaseLate = resolve;
        });
      },
    });
    const outcome = platform.deploy({ name: "carried", image: "x:1", ...atZero });
    await isPreparing;
    await first.stop();
    providers = [];
    const released = new Promise<void>((resolve) => releaseLate(resolve));
    await open({});
    expect((await outcome).subject).to.contain(".deployed.");
    // What came after the provider's end is not kept.
    await released;
  });

  it("fails with the backend's exact words when a replica cannot be started", async () => {
    await open({});
    const outcome = await platform.deploy({ name: "broken", image: "x:1" });
    expect(outcome.data).to.include({
      code: "start_failed",
      message: `broken.${namespace} did not start: nothing can be started here`,
    });
  });

  it("has them in the function's status when that comes later", async () => {
    let fails = false;
    let exit: Parameters<Backend["onExit"]>[0] = () => {};
    const started: string[] = [];
    await open({
      onExit: (listener) => {
        exit = listener;
      },
      start: ({ id }) => {
        if (fails)
          return Promise.reject(new BuskerError("invalid_request", "could not pull image x:1: manifest unknown"));
        started.push(id);
        return Promise.resolve();
      },
      kill: (id) => exit({ id, code: null, signal: "SIGKILL", output: "" }),
      stop: (id) => exit({ id, code: 0, signal: null, output: "" }),
    });
    await platform.deploy({ name: "later", image: "x:1", ...atZero });
    await platform.wish("scale", "later", { replicas: 1 });
    await untilValue(platform.status, "later", (value) => value?.replicas.length === 1 && started.length === 1);
    fails = true;
    exit({ id: started[0] ?? "", code: null, signal: "SIGKILL", output: "" });
    const status = await untilValue(platform.status, "later", (value) => (value?.problem?.failures ?? 0) > 1);
    expect(status?.problem?.message).to.equal("could not pull image x:1: manifest unknown");
    await platform.wish("remove", "later", {});
  });
});
