import { expect } from "chai";
import { connect, type NatsConnection } from "nats";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseCredentials, readCredentialsFile } from "../services/bus/credentials.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

const samples = fileURLToPath(new URL("../dist/samples", import.meta.url));

const echoServer = `
import { createServer } from "node:http";
createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { method, url, rawHeaders } = request;
    response.setHeader("set-cookie", ["a=1", "b=2"]);
    if (url.startsWith("/redirect")) response.writeHead(302, { location: "/elsewhere" });
    response.end(JSON.stringify({ method, url, rawHeaders, body: Buffer.concat(chunks).toString("base64") }));
  });
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

describe("the main job: a function deployed, called, watched, scaled and removed", () => {
  let platform: TestPlatform;
  let nc: NatsConnection;

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    nc = await connect({
      servers: platform.natsUrl,
      authenticator: readCredentialsFile(join(platform.dataFolder, "creds/invoke.creds")),
    });
    const deployed = await Promise.all([
      platform.deploy({
        name: "shout",
        code: { "shout.sh": 'tr a-z A-Z; echo "[$Http_Path]" >&2\n' },
        envVars: { fprocess: "sh shout.sh" },
        more: { labels: { "com.openfaas.scale.max": "3" } },
      }),
      platform.deploy({
        name: "echo",
        code: { "server.mjs": echoServer },
        envVars: { fprocess: "node server.mjs", mode: "http" },
      }),
      platform.deploy({ name: "markdown", code: join(samples, "markdown"), envVars: { mode: "handler" } }),
    ]);
    for (const response of deployed) expect([response.status, await response.text()].slice(0, 1)).to.deep.equal([202]);
  });

  after(async function () {
    this.timeout(60_000);
    await nc?.close();
    expect(await platform.stop()).to.equal(0);
  });

  it("POST /function/NAME runs the function on the body, with call id, start time and duration in the answer", async () => {
    const response = await platform.invoke("shout", { method: "POST", body: "hello" });
    expect(response.status).to.equal(200);
    expect(await response.text()).to.equal("HELLO");
    expect(response.headers.get("x-call-id")).to.match(/^[0-9a-f-]{36}$/);
    expect(response.headers.get("x-start-time")).to.match(/^\d{19}$/);
    expect(Number(response.headers.get("x-duration-seconds"))).to.be.greaterThan(0);
    expect(response.headers.get("x-served-by")).to.match(/^busker\//);
  });

  it("renders Markdown with a Node handler", async () => {
    const response = await platform.invoke("markdown", { method: "POST", body: "# Title\n\n*text*" });
    expect(await response.text())
      .to.include("<h1>Title</h1>")
      .and.to.include("<em>text</em>");
  });

  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    it(`${method} reaches an HTTP function with its path, query, headers and body untouched`, async () => {
      const body = ["GET", "OPTIONS"].includes(method) ? {} : { body: Buffer.from([0, 1, 255]) };
      const response = await platform.invoke("echo.openfaas-fn/a%2Fb/c?x=1&y=%20", {
        method,
        headers: { "X-Custom": "value", "x-call-id": `call-${method}` },
        ...body,
      });
      const seen = (await response.json()) as { method: string; url: string; rawHeaders: string[]; body: string };
      expect(seen).to.include({ method, url: "/a%2Fb/c?x=1&y=%20" });
      expect(seen.body).to.equal(method === "GET" || method === "OPTIONS" ? "" : "AAH/");
      const headers = new Map(seen.rawHeaders.map((name, at) => [name.toLowerCase(), seen.rawHeaders[at + 1]]));
      expect(headers.get("x-custom")).to.equal("value");
      expect(headers.get("x-call-id")).to.equal(`call-${method}`);
      expect(response.headers.get("x-call-id")).to.equal(`call-${method}`);
      expect(response.headers.getSetCookie()).to.deep.equal(["a=1", "b=2"]);
    });

  it("HEAD answers with headers and no body", async () => {
    const response = await platform.invoke("echo", { method: "HEAD" });
    expect([response.status, await response.text()]).to.deep.equal([200, ""]);
  });

  it("answers /_/health and /_/ready for every function, as OpenFaaS's watchdogs do", async () => {
    for (const name of ["shout", "echo", "markdown"])
      for (const path of ["/_/health", "/_/ready"]) {
        const response = await platform.invoke(`${name}${path}`);
        expect([name, path, response.status, await response.text()]).to.deep.equal([name, path, 200, "OK"]);
      }
    expect((await platform.invoke("echo/_/health", { method: "POST" })).status).to.equal(405);
  });

  it("passes a redirect through and never follows it (contract trap 10)", async () => {
    const response = await platform.invoke("echo/redirect");
    expect([response.status, response.headers.get("location")]).to.deep.equal([302, "/elsewhere"]);
  });

  it("answers a bare NATS request without any header", async () => {
    const reply = await nc.request("busker.invoke.openfaas-fn.shout", "plain nats", { timeout: 5000 });
    expect(reply.string()).to.equal("PLAIN NATS");
  });

  it("answers a structured CloudEvent, its attributes being headers of the call", async () => {
    const { headers } = await import("nats");
    const head = headers();
    head.set("Content-Type", "application/cloudevents+json");
    const event = {
      specversion: "1.0",
      id: "event-1",
      source: "/test",
      type: "t",
      datacontenttype: "text/plain",
      data: "from an event",
    };
    const reply = await nc.request("busker.invoke.openfaas-fn.echo", JSON.stringify(event), {
      timeout: 5000,
      headers: head,
    });
    const seen = reply.json<{ rawHeaders: string[]; body: string }>();
    expect(Buffer.from(seen.body, "base64").toString()).to.equal("from an event");
    const sent = new Map(seen.rawHeaders.map((name, at) => [name.toLowerCase(), seen.rawHeaders[at + 1]]));
    expect([sent.get("ce-id"), sent.get("ce-type"), sent.get("content-type")]).to.deep.equal([
      "event-1",
      "t",
      "text/plain",
    ]);
    expect(reply.headers?.get("ce-id")).to.equal("event-1");
  });

  it("the credentials for a first try are standard NATS credentials", async () => {
    const { readFile } = await import("node:fs/promises");
    expect(parseCredentials(await readFile(join(platform.dataFolder, "creds/invoke.creds"), "utf8")).jwt).to.match(
      /^eyJ/,
    );
  });

  it("GET /system/functions lists what was deployed, in its namespace only, with invocation counts", async () => {
    const list = (await (await platform.api("GET", "/system/functions")).json()) as Record<string, unknown>[];
    expect(list.map(({ name }) => name)).to.have.members(["shout", "echo", "markdown"]);
    const shout = list.find(({ name }) => name === "shout");
    expect(shout).to.include({ namespace: "openfaas-fn", replicas: 1, availableReplicas: 1 });
    // Callers tell what they count once a second.
    await eventually("it is counted", async () =>
      Number((await platform.status("shout"))["invocationCount"] ?? 0) > 0 ? true : undefined,
    );
    expect(await (await platform.api("GET", "/system/functions?namespace=other")).json()).to.deep.equal([]);
  });

  it("GET /system/function/NAME echoes the deployment (contract trap 4)", async () => {
    expect(await platform.status("shout")).to.deep.include({
      name: "shout",
      envVars: { fprocess: "sh shout.sh" },
      labels: { "com.openfaas.scale.max": "3", faas_function: "shout" },
    });
  });

  it("GET /system/logs gives the function's stderr lines with the call id, as NDJSON, and follows", async () => {
    await platform.invoke("shout/for-the-log", { method: "POST", body: "x", headers: { "x-call-id": "logged-call" } });
    const line = await eventually("the line is in the log", async () => {
      const response = await platform.api("GET", "/system/logs?name=shout&tail=50");
      expect(response.headers.get("content-type")).to.include("application/x-ndjson");
      const lines = (await response.text()).split("\n").filter(Boolean);
      return lines
        .map((text) => JSON.parse(text) as Record<string, string>)
        .find(({ callId }) => callId === "logged-call");
    });
    expect(line).to.include({ name: "shout", namespace: "openfaas-fn" });
    expect(line["text"]).to.match(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d stderr: \[\/for-the-log\]\n$/);
    expect(line["instance"]).to.match(/^shout-/);
    expect(new Date(line["timestamp"] ?? "").getTime()).to.be.closeTo(Date.now(), 20_000);
    const following = await platform.api("GET", "/system/logs?name=shout&follow=true&tail=1");
    const reader = following.body?.getReader();
    await platform.invoke("shout/followed", { method: "POST", body: "x" });
    let text = "";
    while (!text.includes("/followed")) text += Buffer.from((await reader?.read())?.value ?? []).toString();
    await reader?.cancel();
  });

  it("ends a followed log when its function is removed, because nothing more can come", async function () {
    this.timeout(60_000);
    await platform.deploy({
      name: "brief",
      code: { "say.sh": "echo last words >&2" },
      envVars: { fprocess: "sh say.sh" },
    });
    const following = await platform.api("GET", "/system/logs?name=brief&follow=true");
    const text = following.text();
    await platform.invoke("brief", { method: "POST", body: "x" });
    expect((await platform.api("DELETE", "/system/functions", { functionName: "brief" })).status).to.equal(202);
    expect(await text).to.include("last words");
  });

  it("scales up and down, to zero, and back on demand over HTTP and over NATS", async function () {
    this.timeout(60_000);
    const available = (count: number) =>
      eventually(
        `${count} replicas`,
        async () => ((await platform.status("shout"))["availableReplicas"] ?? 0) === count || undefined,
      );
    expect(
      (await platform.api("POST", "/system/scale-function/shout", { serviceName: "shout", replicas: 3 })).status,
    ).to.equal(202);
    await available(3);
    for (const call of [
      async () => (await platform.invoke("shout", { method: "POST", body: "woken" })).text(),
      async () => (await nc.request("busker.invoke.openfaas-fn.shout", "woken", { timeout: 10_000 })).string(),
    ]) {
      await platform.api("POST", "/system/scale-function/shout", { replicas: 0 });
      await available(0);
      expect(await call()).to.equal("WOKEN");
    }
  });

  it("updates by starting the new before draining the old: no call fails meanwhile", async function () {
    this.timeout(60_000);
    const version = (text: string) =>
      platform.deploy({
        name: "versioned",
        code: { "h.mjs": `export default async () => "${text}";` },
        envVars: { mode: "handler", handler: "h.mjs" },
      });
    expect((await version("one")).status).to.equal(202);
    let updating = true;
    const seen = new Set<string>();
    const calling = (async () => {
      while (updating) {
        const response = await platform.invoke("versioned");
        seen.add(`${response.status} ${await response.text()}`);
      }
    })();
    expect((await version("two")).status).to.equal(202);
    await eventually(
      "the new version answers",
      async () => (await (await platform.invoke("versioned")).text()) === "two" || undefined,
    );
    updating = false;
    await calling;
    expect([...seen].toSorted()).to.deep.equal(["200 one", "200 two"]);
  });

  it("publishes OpenFaaS's metrics of what was called", async () => {
    await eventually("the last call is counted", async () => {
      const text = await (await fetch(platform.metricsUrl)).text();
      return text.includes('gateway_function_invocation_total{function_name="shout.openfaas-fn"') || undefined;
    });
    const text = await (await fetch(platform.metricsUrl)).text();
    for (const series of [
      /gateway_function_invocation_total\{function_name="shout\.openfaas-fn",code="200"\} \d+/,
      /gateway_functions_seconds_bucket\{le="0\.1",function_name="shout\.openfaas-fn",code="200"\} \d+/,
      /gateway_function_invocation_started\{function_name="shout\.openfaas-fn"\} \d+/,
      /gateway_service_count\{function_name="shout\.openfaas-fn"\} 1/,
    ])
      expect(text).to.match(series);
  });

  it("removes a function, its replicas and its metrics", async () => {
    expect((await platform.api("DELETE", "/system/functions", { functionName: "versioned" })).status).to.equal(202);
    expect((await platform.invoke("versioned")).status).to.equal(404);
    expect((await platform.api("GET", "/system/function/versioned")).status).to.equal(404);
    await eventually("its processes are gone", () => (platform.pids("/versioned-").length === 0 ? true : undefined));
    expect(await (await fetch(platform.metricsUrl)).text()).to.not.include("versioned");
  });

  it("answers info, namespaces and health", async () => {
    const info = (await (await platform.api("GET", "/system/info")).json()) as {
      provider: Record<string, unknown>;
      arch: string;
    };
    expect(info.provider).to.include({ provider: "busker", orchestration: "process" });
    expect(await (await platform.api("GET", "/system/namespaces")).json()).to.deep.equal(["openfaas-fn"]);
    expect(await (await fetch(`${platform.url}/healthz`)).text()).to.equal("OK");
  });

  describe("bad input", () => {
    const unauthorized = ["/system/functions", "/system/info", "/system/logs?name=shout", "/ui/"];
    for (const path of unauthorized)
      it(`GET ${path} without credentials is 401 with a challenge`, async () => {
        const response = await fetch(`${platform.url}${path}`);
        expect([response.status, response.headers.get("www-authenticate")]).to.deep.equal([
          401,
          'Basic realm="Restricted"',
        ]);
        expect(await response.text()).to.equal("invalid credentials\n");
      });

    const calls: readonly (readonly [string, string, string, unknown, number, RegExp])[] = [
      ["an unknown function", "GET", "/function/nobody", undefined, 404, /no function nobody/],
      ["an invalid function name", "GET", "/function/No_Body", undefined, 400, /"No_Body"/],
      [
        "an update of an unknown function",
        "PUT",
        "/system/functions",
        { service: "nobody", image: `bundle:sha256:${"0".repeat(64)}` },
        404,
        /nobody/,
      ],
      [
        "a deployment of an existing function",
        "POST",
        "/system/functions",
        { service: "shout", image: `bundle:sha256:${"0".repeat(64)}` },
        409,
        /shout/,
      ],
      [
        "an image on the process backend",
        "POST",
        "/system/functions",
        { service: "img", image: "alpine:latest" },
        501,
        /alpine/,
      ],
      [
        "a bundle nobody uploaded",
        "POST",
        "/system/functions",
        { service: "img", envProcess: "cat", image: `bundle:sha256:${"0".repeat(64)}` },
        400,
        /0000/,
      ],
      [
        "a namespace nobody made",
        "POST",
        "/system/functions",
        { service: "img", envProcess: "cat", image: `bundle:sha256:${"0".repeat(64)}`, namespace: "mars" },
        400,
        /mars/,
      ],
      ["removal of an unknown function", "DELETE", "/system/functions", { functionName: "nobody" }, 404, /nobody/],
      ["removal without a name", "DELETE", "/system/functions", {}, 400, /name/],
      ["scaling an unknown function", "POST", "/system/scale-function/nobody", { replicas: 1 }, 404, /nobody/],
      ["scaling to a negative count", "POST", "/system/scale-function/shout", { replicas: -1 }, 400, /replicas/],
      ["scaling to a word", "POST", "/system/scale-function/shout", { replicas: "two" }, 400, /replicas/],
      ["logs of an unknown function", "GET", "/system/logs?name=nobody", undefined, 404, /nobody/],
      ["logs since a word", "GET", "/system/logs?name=shout&since=yesterday", undefined, 422, /since/],
      ["a path that is not there", "GET", "/system/nothing", undefined, 404, /nothing/],
      ["a verb that is not taken", "PATCH", "/system/functions", undefined, 405, /PATCH/],
    ];
    for (const [title, method, path, body, status, says] of calls)
      it(`${title}: ${status} and a sentence`, async () => {
        const response = await platform.api(method, path, body);
        const text = await response.text();
        expect(response.status, text).to.equal(status);
        expect(text).to.match(says);
      });

    it("405 says what is taken, in a sentence and in the header Allow", async () => {
      const system = await platform.api("PATCH", "/system/functions");
      expect(system.headers.get("allow"))
        .to.match(/GET/)
        .and.to.match(/POST/)
        .and.to.match(/DELETE/);
      const call = await platform.invoke("echo", { method: "PROPFIND" });
      expect([call.status, call.headers.get("allow")?.includes("PATCH")]).to.deep.equal([405, true]);
    });

    it("a body that is not JSON is 400 and says so", async () => {
      const response = await fetch(`${platform.url}/system/functions`, {
        method: "POST",
        headers: { authorization: platform.authorization },
        body: "{oops",
      });
      expect([response.status, /JSON/.test(await response.text())]).to.deep.equal([400, true]);
    });

    it("a body too large for a function that takes it whole is 413 and names the limit, with and without Content-Length", async () => {
      const big = Buffer.alloc(9 * 1024 * 1024);
      for (const body of [big, new Blob([big]).stream()]) {
        const response = await platform
          .invoke("markdown", {
            method: "POST",
            body,
            ...(Buffer.isBuffer(body) ? {} : { duplex: "half" }),
          } as RequestInit)
          .catch((error: unknown) => error as Error);
        // A server that answers early and closes may break the upload before the client has read the answer.
        if (response instanceof Response) {
          expect(response.status).to.equal(413);
          expect(await response.text()).to.match(/larger than \d+ bytes/);
        }
      }
    });

    it("headers beyond the limit are 413", async () => {
      const response = await platform.invoke("echo", { headers: { "x-big": "x".repeat(70_000) } });
      expect([response.status, /headers/.test(await response.text())]).to.deep.equal([413, true]);
    });

    it("a function that cannot start is refused with its own last words, and leaves nothing", async () => {
      const response = await platform.deploy({
        name: "broken",
        code: { "server.mjs": "throw new Error('cannot find my shoes');" },
        envVars: { fprocess: "node server.mjs", mode: "http" },
      });
      expect(response.status).to.equal(500);
      expect(await response.text()).to.include("cannot find my shoes");
      expect((await platform.api("GET", "/system/function/broken")).status).to.equal(404);
      await eventually("no process is left", () => (platform.pids("/broken-").length === 0 ? true : undefined));
    });

    it("a broken update is refused and the old version goes on", async () => {
      const deploy = (code: string) =>
        platform.deploy({ name: "steady", code: { "h.mjs": code }, envVars: { mode: "handler", handler: "h.mjs" } });
      await deploy("export default async () => 'still here';");
      const broken = await deploy("throw new Error('typo');");
      expect([broken.status, /typo/.test(await broken.text())]).to.deep.equal([500, true]);
      expect(await (await platform.invoke("steady")).text()).to.equal("still here");
    });
  });
});
