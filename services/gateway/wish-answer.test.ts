import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import type { Outcome } from "../../schemas/events.ts";
import { createApp } from "./app.ts";
import { createFunctionsRoute } from "./functions-route.ts";
import { emptyTotals } from "./totals/function-totals.ts";

const outcome: Outcome = { wish: "w", replicas: 1, availableReplicas: 1 };
const lines = "application/x-ndjson";

describe("answerWish()", () => {
  let server: Server;
  let act: (tell: (progress: string) => void) => Promise<Outcome>;

  before((done) => {
    const route = createFunctionsRoute({
      directory: { find: () => undefined, list: () => [], status: () => undefined } as never,
      totals: { of: () => emptyTotals() },
      wishes: { make: (_verb, _name, _data, tell = () => {}) => act(tell), stop: () => {} },
    });
    server = createServer(createApp(() => true, [route]).callback()).listen(0, "127.0.0.1", done);
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  const deploy = (accept?: string, signal?: AbortSignal): Promise<Response> =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/system/functions`, {
      method: "POST",
      headers: accept === undefined ? {} : { accept },
      body: JSON.stringify({ service: "fn", image: "x:1" }),
      ...(signal === undefined ? {} : { signal }),
    });
  const tellTwice = (tell: (progress: string) => void): void => {
    tell("pulling x:1");
    tell("pulling x:1: 1 of 2 layers");
  };

  for (const accept of [undefined, "application/json", "*/*", "text/html"])
    it(`answers once, with the outcome, to who accepts ${accept ?? "no matter what"}`, async () => {
      act = async (tell) => {
        tellTwice(tell);
        await new Promise((resolve) => setImmediate(resolve));
        return outcome;
      };
      const response = await deploy(accept);
      expect([response.status, await response.json()]).to.deep.equal([202, outcome]);
    });

  it("answers with the error's status, whoever asks, when there was no progress before", async () => {
    act = () => Promise.reject(new BuskerError("function_not_found", "there is no function fn"));
    const answers = [await deploy(), await deploy(lines)];
    expect(answers.map(({ status }) => status)).to.deep.equal([404, 404]);
    expect(await answers[1]?.text()).to.equal("there is no function fn\n");
  });

  it("answers plainly to who accepts lines when it takes no while", async () => {
    act = () => Promise.resolve(outcome);
    const response = await deploy(lines);
    expect(response.headers.get("content-type")).to.contain("application/json");
    expect([response.status, await response.json()]).to.deep.equal([202, outcome]);
  });

  it("sends each word of progress at once as a line, and the outcome at last", async () => {
    let finish = (): void => {};
    act = (tell) => {
      tellTwice(tell);
      return new Promise((resolve) => {
        finish = () => resolve(outcome);
      });
    };
    const response = await deploy(`${lines}, application/json;q=0.9`);
    expect([response.status, response.headers.get("content-type")]).to.deep.equal([202, lines]);
    // The answer has begun, and the wish has not ended.
    finish();
    expect(
      (await response.text())
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).to.deep.equal([{ progress: "pulling x:1" }, { progress: "pulling x:1: 1 of 2 layers" }, { outcome }]);
  });

  it("sends an error at last, with its code and the status it would have had", async () => {
    act = async (tell) => {
      tellTwice(tell);
      await new Promise((resolve) => setImmediate(resolve));
      throw new BuskerError("invalid_request", "could not pull image x:1: manifest unknown");
    };
    const text = await (await deploy(lines)).text();
    expect(JSON.parse(text.trim().split("\n").at(-1) ?? "")).to.deep.equal({
      error: { code: "invalid_request", status: 400, message: "could not pull image x:1: manifest unknown" },
    });
  });

  it("lets who asked go away, and the wish goes on", async () => {
    let tellMore: (progress: string) => void = () => {};
    let finish = (): void => {};
    act = (tell) => {
      tellMore = tell;
      tell("pulling x:1");
      return new Promise((resolve) => {
        finish = () => resolve(outcome);
      });
    };
    const closed = new Promise<void>((resolve) => {
      server.once("request", (_request, response: ServerResponse) => response.once("close", resolve));
    });
    const leave = new AbortController();
    await deploy(lines, leave.signal);
    leave.abort();
    await closed;
    tellMore("pulling x:1: 2 of 2 layers");
    finish();
    act = () => Promise.resolve(outcome);
    expect((await deploy(lines)).status).to.equal(202);
  });
});
