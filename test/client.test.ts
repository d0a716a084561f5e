import { createHash, randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { expect } from "chai";
import { BuskerError } from "../schemas/errors.ts";
import { type Client, connect } from "../services/bus/client.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/* Programs that call functions over the bus, with the invoke credentials and nothing else. */

const server = `
import { createServer } from "node:http";
let gone = 0;
createServer((request, response) => {
  if (request.url === "/echo") return request.pipe(response);
  if (request.url === "/gone") return response.end(String(gone));
  if (request.url === "/flood") {
    const piece = Buffer.alloc(65536, "x");
    const flood = () => {
      while (!response.destroyed) if (!response.write(piece)) return response.once("drain", flood);
    };
    response.on("close", () => (gone += 1));
    return flood();
  }
  if (request.url === "/broken") {
    response.write("x".repeat(300000));
    return setTimeout(() => response.destroy(), 20);
  }
  response.writeHead(418, { "X-Method": request.method, "X-Path": request.url, "X-Sent": String(request.headers["x-sent"]) });
  response.end("teapot");
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return error instanceof BuskerError ? error.code : String(error);
  }
};

describe("the client module", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let client: Client;

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    const fn = { name: "c", code: { "server.mjs": server }, envVars: { fprocess: "node server.mjs", mode: "http" } };
    expect((await platform.deploy(fn)).status).to.equal(202);
    client = await connect({ url: platform.natsUrl, credentialsFile: `${platform.dataFolder}/creds/invoke.creds` });
  });

  after(async () => {
    await client?.close();
    expect(await platform.stop()).to.equal(0);
  });

  it("gives the function's own status, headers and body, because a 418 is an answer", async () => {
    const response = await client.invoke("c", { method: "PUT", path: "/a?b=c", headers: { "X-Sent": "yes" } });
    expect([
      response.status,
      response.header("x-method"),
      response.header("X-PATH"),
      response.header("x-sent"),
    ]).to.deep.equal([418, "PUT", "/a?b=c", "yes"]);
    expect(await response.text()).to.equal("teapot");
  });

  for (const bytes of [0, 1024, 1024 * 1024, 10 * 1024 * 1024])
    it(`sends and gets ${bytes} bytes as they were, whole and in parts`, async () => {
      const body = randomBytes(bytes);
      const parts = async function* (): AsyncIterable<Uint8Array> {
        for (let at = 0; at < bytes; at += 100_000) yield body.subarray(at, at + 100_000);
      };
      for (const given of [body, parts()]) {
        const response = await client.invoke("c", { path: "/echo", body: given });
        expect(digest(await response.bytes())).to.equal(digest(body));
      }
    });

  it("hands over each part as it comes while the request goes on, because both directions are open at once", async () => {
    const questions = ["one", "two", "three"];
    let answered = (): void => {};
    const ask = async function* (): AsyncIterable<string> {
      for (const question of questions) {
        yield question;
        await new Promise<void>((resolve) => {
          answered = resolve;
        });
      }
    };
    const response = await client.invoke("c", { path: "/echo", body: ask() });
    const heard: string[] = [];
    for await (const part of response.body) {
      heard.push(Buffer.from(part).toString());
      answered();
    }
    expect(heard).to.deep.equal(questions);
  });

  it("stops the function's work when nobody reads on, or when the signal says so", async () => {
    const gone = async (): Promise<number> => Number(await (await client.invoke("c", { path: "/gone" })).text());
    const before = await gone();
    for await (const part of (await client.invoke("c", { path: "/flood" })).body) if (part.length > 0) break;
    await eventually("the function hears that its reader left", async () =>
      (await gone()) === before + 1 ? true : undefined,
    );
    const controller = new AbortController();
    const response = await client.invoke("c", { path: "/flood", signal: controller.signal });
    controller.abort();
    expect(await codeOf(response.bytes())).to.equal("cancelled");
    await eventually("the function hears that its reader left", async () =>
      (await gone()) === before + 2 ? true : undefined,
    );
  });

  it("ends a call that waits for its head when the signal says so", async () => {
    const controller = new AbortController();
    const open = client.invoke("c", {
      path: "/echo",
      signal: controller.signal,
      body: (async function* () {
        yield "";
        await wait(60_000, undefined, { ref: false });
      })(),
    });
    setTimeout(() => controller.abort(), 50);
    expect(await codeOf(open.then((response) => response.bytes()))).to.equal("cancelled");
  });

  it("throws where an answer breaks off, because a short body must not look complete", async () => {
    const response = await client.invoke("c", { path: "/broken" });
    expect(await codeOf(response.bytes())).to.equal("function_unreachable");
  });

  it("breaks the call when the body's own source fails", async () => {
    const failing = async function* (): AsyncIterable<string> {
      yield "some";
      throw new Error("no more");
    };
    const broken = client.invoke("c", { path: "/echo", body: failing() }).then((response) => response.bytes());
    expect(await codeOf(broken)).to.not.equal("no error");
  });

  it("says at once that there is no such function, and which name is none", async () => {
    const started = Date.now();
    expect(await codeOf(client.invoke("nobody"))).to.equal("function_not_found");
    expect(Date.now() - started).to.be.below(8000);
    expect(await codeOf(client.invoke("No Such Name"))).to.equal("invalid_request");
  });

  it("wakes a function that is at zero", async () => {
    const scaled = await platform.api("POST", "/system/scale-function/c", { serviceName: "c", replicas: 0 });
    expect(scaled.status).to.equal(202);
    expect((await client.invoke("c")).status).to.equal(418);
  });

  it("gives up connecting where no server answers, and calling when it is closed", async () => {
    const credentialsFile = `${platform.dataFolder}/creds/invoke.creds`;
    expect(await codeOf(connect({ url: "nats://127.0.0.1:1", credentialsFile, timeoutMs: 300 }))).to.equal(
      "bus_unavailable",
    );
    const closed = await connect({ url: platform.natsUrl, credentialsFile });
    await closed.close();
    expect(await codeOf(closed.invoke("c"))).to.equal("bus_unavailable");
  });

  it("gives a call up at its deadline", async () => {
    const silent = client.invoke("c", {
      path: "/echo",
      timeoutMs: 300,
      body: (async function* () {
        yield "x";
        await wait(60_000, undefined, { ref: false });
      })(),
    });
    expect(await codeOf(silent.then((response) => response.bytes()))).to.equal("deadline_exceeded");
  });
});
