import { expect } from "chai";
import { BuskerError, type ErrorCode } from "../../schemas/errors.ts";
import { inboxPrefix, providerQueueGroup, secretSubject, secretVerbFilter } from "../../schemas/subjects.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { answerQuestions, ask } from "./ask.ts";
import { type Bus, openBus } from "./connection.ts";

const namespace = "openfaas-fn";

describe("ask()", () => {
  let nats: TestNats;
  let gateway: Bus;
  let provider: Bus;
  let stop: () => void = () => {};

  before(async () => {
    nats = await startTestNats();
    const open = (user: "gateway" | "provider") =>
      openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });
    gateway = await open("gateway");
    provider = await open("provider");
  });
  after(async () => {
    await Promise.all([gateway?.close(), provider?.close()]);
    await nats?.stop();
  });
  afterEach(() => stop());

  const serve = async (handle: Parameters<typeof answerQuestions<"io.busker.secret.list">>[2]): Promise<void> => {
    stop = answerQuestions(provider, { filter: secretVerbFilter("list"), queue: providerQueueGroup }, handle);
    await provider.nc.flush();
  };
  const question = (timeoutMs = 5000) =>
    ask(gateway, {
      subject: secretSubject("list", namespace),
      type: "io.busker.secret.list",
      data: {},
      what: "list secrets",
      timeoutMs,
    });
  const refusal = async (code: ErrorCode, timeoutMs?: number): Promise<string> => {
    const error: unknown = await question(timeoutMs).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof BuskerError)) throw new Error(`not refused: ${String(error)}`);
    expect(error.code).to.equal(code);
    return error.message;
  };

  it("gives the answer of one of several, with the rights that gateway and provider have", async () => {
    const subjects: string[] = [];
    const answer = async ({ subject }: { subject: string }) => {
      subjects.push(subject);
      return { names: ["a"] };
    };
    await serve(answer);
    const first = stop;
    await serve(answer);
    expect(await question()).to.deep.equal({ names: ["a"] });
    expect(subjects).to.deep.equal([secretSubject("list", namespace)]);
    first();
  });

  it("says at once that no provider is there, and that nothing was done", async () => {
    expect(await refusal("provider_unavailable")).to.equal(
      "could not list secrets: no provider is there; nothing was done",
    );
  });

  it("says of one that does not answer in time that nobody knows what it did", async () => {
    await serve(() => new Promise(() => {}));
    expect(await refusal("provider_unavailable", 50)).to.contain("within 50 ms; whether it was done is not known");
  });

  it("throws the error that the other side threw, with its code", async () => {
    await serve(() => Promise.reject(new BuskerError("secret_exists", "it is there")));
    expect(await refusal("secret_exists")).to.equal("it is there");
  });

  it("throws what is no error of the catalogue as internal, because its maker did not expect it", async () => {
    await serve(() => Promise.reject(new TypeError("no such thing")));
    expect(await refusal("internal")).to.equal("no such thing");
  });

  for (const reply of ["$KV.secrets.a", `${inboxPrefix("gateway")}.abc.1`])
    it(`does nothing for a question whose answer shall go to ${reply}, because the sender chose that`, async () => {
      let asked = 0;
      await serve(async () => {
        asked += 1;
        return {};
      });
      gateway.nc.publish(secretSubject("list", namespace), "{}", { reply });
      await gateway.nc.flush();
      // Whoever asks after it is answered after it.
      await question();
      expect(asked).to.equal(1);
    });

  it("answers a question that is not JSON with the reason, because a service must not end by it", async () => {
    await serve(async () => ({}));
    const admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "a" });
    const options = { reply: `${inboxPrefix("admin")}.answer.t1`, noMux: true, timeout: 2000 };
    const answer = await admin.nc.request(secretSubject("list", namespace), "{", options);
    expect(answer.json()).to.have.nested.property("error.code", "invalid_request");
    await admin.close();
  });
});
