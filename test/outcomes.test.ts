import { expect } from "chai";
import { readFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { startReceiver } from "../services/queue-worker/outcomes/fixtures/receiver.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Outcomes through a whole platform: a call is accepted, runs, and those are told who are to be told.
 */

const handler = `
export default async (event, context) => {
  const { path, headers } = event;
  if (path === "/wrong") return context.status(422).succeed("wrong");
  if (path === "/large") return "x".repeat(5_000_000);
  return context.headers({ "X-Own": "1" }).succeed(event.body + ">" + process.env.NAME + ":" + (headers["x-busker-depth"] ?? 0));
};
`;

type IsGenuine = (headers: IncomingHttpHeaders, body: Uint8Array, secret: string) => boolean;

/** What the README would have receivers do. */
const readmeCheck = async (): Promise<IsGenuine> => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const code = [...readme.matchAll(/^```js\n([^]*?)^```$/gm)]
    .map(([, text]) => text)
    .find((text) => text?.includes("isGenuine"));
  const module = (await import(`data:text/javascript,${encodeURIComponent(code ?? "")}`)) as { isGenuine: IsGenuine };
  return module.isGenuine;
};

type Receiver = Awaited<ReturnType<typeof startReceiver>>;

describe("outcomes of durable calls", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let receiver: Receiver;

  const deploy = async (name: string, annotations: Readonly<Record<string, string>> = {}): Promise<Response> =>
    platform.deploy({
      name,
      code: { "handler.mjs": handler },
      envVars: { mode: "handler", handler: "handler.mjs", NAME: name },
      more: { annotations },
    });

  const accept = async (path: string, callback?: string, body = "a"): Promise<string> => {
    const headers: Record<string, string> = callback === undefined ? {} : { "X-Callback-Url": callback };
    const response = await fetch(`${platform.url}/async-function/${path}`, { method: "POST", headers, body });
    expect(response.status, await response.text()).to.equal(202);
    return response.headers.get("x-call-id") ?? "";
  };

  const receivedAt = (path: string) =>
    eventually(`${path} was told`, () => receiver.received.all.find((each) => each.path === path));

  before(async function () {
    this.timeout(60_000);
    receiver = await startReceiver((response) => response.end());
    platform = await startTestPlatform({ BUSKER_CALLBACK_ALLOW: "127.0.0.1" });
    for (const [name, annotations] of [
      ["third", { "com.busker.on-success": `${receiver.url}/chained` }],
      ["second", { "com.busker.on-success": "third" }],
      ["first", { "com.busker.on-success": "second", "com.busker.on-failure": `${receiver.url}/failed` }],
      ["loop", { "com.busker.on-success": "loop" }],
      ["plain", {}],
    ] as const)
      expect((await deploy(name, annotations)).status).to.equal(202);
  });

  after(async () => {
    const code = await platform?.stop();
    await receiver?.stop();
    expect(code).to.equal(0);
  });

  it("tells a callback the response, its headers and the call's, signed", async () => {
    const id = await accept("plain", `${receiver.url}/plain`);
    const { headers, body } = await receivedAt("/plain");
    expect(body.toString()).to.equal("a>plain:0");
    expect(headers).to.include({
      "x-call-id": id,
      "x-function-status": "200",
      "x-function-name": "plain",
      "x-own": "1",
    });
    expect(headers).to.include({ "x-retry": "0", "x-retry-max": "9" });
    const secret = await readFile(join(platform.dataFolder, "secrets/callback-key"), "utf8");
    const isGenuine = await readmeCheck();
    expect(isGenuine(headers, body, secret)).to.equal(true);
    expect(isGenuine(headers, Buffer.from("forged"), secret)).to.equal(false);
    expect(isGenuine({ ...headers, "webhook-timestamp": "1" }, body, secret)).to.equal(false);
  });

  it("tells a callback a response that is kept in parts", async () => {
    await accept("plain/large", `${receiver.url}/large`);
    const { headers, body } = await receivedAt("/large");
    expect(body.length).to.equal(5_000_000);
    expect(headers["content-length"]).to.equal("5000000");
  });

  it("chains functions by on-success, the response of each the body of the next", async () => {
    await accept("first");
    const { body, headers } = await receivedAt("/chained");
    expect(body.toString()).to.equal("a>first:0>second:1>third:2");
    expect(headers["x-function-name"]).to.equal("third");
  });

  it("tells on-failure of a dead call, and only then", async () => {
    await accept("first/wrong");
    const { body, headers } = await receivedAt("/failed");
    expect(body.toString()).to.equal("wrong");
    expect(headers["x-function-status"]).to.equal("422");
    expect(receiver.received.all.filter(({ path }) => path === "/failed").length).to.equal(1);
  });

  it("ends a loop of functions after thirty-two calls", async () => {
    await accept("loop");
    const text = await eventually("it ended", () => {
      const output = platform.output();
      return output.includes("is number 32 of a chain") ? output : undefined;
    });
    expect(text).to.include("loop is not called");
  });

  it("refuses an annotation that would publish on the platform's subjects", async () => {
    const response = await deploy("bad", { "com.busker.on-success": "nats:busker.function.deploy.a.b" });
    expect(await response.text()).to.include("com.busker.on-success must be nats: and a subject");
    expect(response.status).to.equal(400);
  });
});
