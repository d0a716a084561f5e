import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { fixtures, headerOf, isAlive, node, openMode, textOf, until, type TestMode } from "../fixtures/open-mode.ts";

const server = (...args: readonly string[]): string => node("http-function.mjs", ...args);

const startFault = (opened: TestMode): Promise<unknown> =>
  opened.mode.start().then(
    () => undefined,
    (error: unknown) => error,
  );

describe("mode http", () => {
  let opened: TestMode;
  const open = async (fprocess: string, env: Record<string, string> = {}): Promise<void> => {
    opened = openMode({ mode: "http", fprocess, ...env }, { maxResponseBytes: 1_000_000 });
    await opened.mode.start();
  };
  afterEach(() => opened.mode.stop(0));

  it("passes method, path, query, headers and body on, and the answer back", async () => {
    await open(server());
    const body = Buffer.alloc(300_000, "ab");
    const answer = await opened.call({ method: "PATCH", path: "/x/y?z=%20", headers: ["X-A", "b"], body });
    expect(answer.status).to.equal(200);
    expect(headerOf(answer, "X-Length")).to.equal("300000");
    expect(JSON.parse(textOf(answer))).to.deep.include({
      method: "PATCH",
      url: "/x/y?z=%20",
      body: body.subarray(0, 100).toString(),
    });
  });

  it("waits for the server behind an OpenFaaS watchdog, because that one says it is well before", async () => {
    const behind = createServer();
    await new Promise<void>((listening) => behind.listen(0, "127.0.0.1", listening));
    const { port } = behind.address() as AddressInfo;
    await new Promise((closed) => behind.close(closed));
    const inner = { upstreamUrl: `http://127.0.0.1:${port}` };
    opened = openMode({ mode: "http", fprocess: server(), ready_path: "/always" }, { inner });
    let isStarted = false;
    const started = opened.mode.start().then(() => (isStarted = true));
    await until("it has been asked", () => opened.lines.some(({ text }) => text === "asked /always"));
    expect(isStarted).to.equal(false);
    const late = createServer((socket) => socket.destroy());
    await new Promise<void>((listening) => late.listen(port, "127.0.0.1", listening));
    await started;
    late.close();
  });

  it("takes only a success of an OpenFaaS watchdog's health for readiness", async () => {
    opened = openMode({ mode: "http", fprocess: server(), start_timeout: "300ms" }, { inner: {} });
    expect(await startFault(opened)).to.be.instanceOf(BuskerError);
  });

  const answers: readonly (readonly [string, string, number, string, string | undefined])[] = [
    ["GET", "/redirect", 302, "moved", undefined],
    ["GET", "/empty", 204, "", undefined],
    ["GET", "/unchanged", 304, "", undefined],
    ["GET", "/chunked", 200, "onetwo", undefined],
    ["HEAD", "/x", 200, "", undefined],
    ["POST", "/crash", 502, "the function closed the connection without an answer\n", "function_unreachable"],
    ["GET", "/big", 502, "the function's response is larger than the limit of 1000000 bytes\n", "response_too_large"],
    [
      "GET",
      "/endless",
      502,
      "the function's response is larger than the limit of 1000000 bytes\n",
      "response_too_large",
    ],
    [
      "GET",
      "/a b",
      400,
      'cannot pass the call to the function: the path must be a / and visible characters; got "/a b"\n',
      "invalid_request",
    ],
  ];
  for (const [method, path, status, text, error] of answers)
    it(`answers ${status} to ${method} ${path}`, async () => {
      await open(server());
      const answer = await opened.call({ method, path });
      expect([answer.status, textOf(answer), answer.error]).to.deep.equal([status, text, error]);
      expect((await opened.call({ path: "/after" })).status).to.equal(200);
    });

  for (const [cause, code] of [
    ["deadline", "deadline_exceeded"],
    ["cancelled", "cancelled"],
  ] as const)
    it(`answers at once at ${cause} and goes on serving`, async () => {
      await open(server());
      const { answer, stop } = opened.begin({ path: "/never" });
      await until("the request", () => opened.lines.length > 0);
      stop(cause);
      expect((await answer).error).to.equal(code);
      expect((await opened.call()).status).to.equal(200);
    });

  it("fails calls in flight and tells the loss when the server dies", async () => {
    await open(server());
    const waiting = opened.begin({ path: "/never" });
    await until("the request", () => opened.lines.length > 0);
    const dying = opened.call({ path: "/exit", method: "GET" });
    expect((await waiting.answer).error).to.equal("function_unreachable");
    expect((await dying).error).to.equal("function_unreachable");
    expect(await opened.lost).to.equal("the function's process ended with exit code 9");
    expect((await opened.call()).error).to.equal("function_unreachable");
  });

  it("takes a server for ready that answers with a stream without end", async () => {
    await open(server(), { ready_path: "/endless" });
  });

  it("waits for 2xx on ready_path", async () => {
    const beganMs = Date.now();
    await open(server(), { ready_path: "/ready" });
    expect(Date.now() - beganMs).to.be.at.least(150);
  });

  it("starts again with another port when somebody took the one that was free", async () => {
    const folder = mkdtempSync(join(tmpdir(), "busker-"));
    await open(server("port-taken", join(folder, "once")));
    expect((await opened.call()).status).to.equal(200);
    rmSync(folder, { recursive: true });
  });

  it("start() rejects a server that ends, with its exit code and last lines", async () => {
    opened = openMode({ mode: "http", fprocess: server("broken") });
    const error = await startFault(opened);
    expect(error).to.be.instanceOf(BuskerError).with.property("code", "start_failed");
    expect((error as BuskerError).message)
      .to.contain("exit code 7")
      .and.to.contain("cannot find module x");
  });

  it("start() rejects a server that never answers, and leaves nothing of it", async () => {
    opened = openMode({ mode: "http", fprocess: `${fixtures}/hostile.sh stubborn`, start_timeout: "200ms" });
    expect((await startFault(opened)) as BuskerError)
      .to.have.property("message")
      .that.contains("no answer on port");
    const pids = opened.lines[0]?.text.split(" ").map(Number) ?? [];
    expect(pids).to.have.length(2);
    await until("the end of the group", () => !pids.some(isAlive));
  });

  it("start() rejects a fixed port that somebody has, because their answers are not the function's", async () => {
    const other = createServer((socket) => socket.on("error", () => undefined).end("HTTP/1.1 200 OK\r\n\r\n"));
    await new Promise<void>((listening) => other.listen(0, "127.0.0.1", listening));
    const { port } = other.address() as AddressInfo;
    opened = openMode({ mode: "http", fprocess: server(), upstream_url: `http://127.0.0.1:${port}` });
    expect((await startFault(opened)) as BuskerError)
      .to.have.property("message")
      .that.contains("in use");
    await new Promise((closed) => other.close(closed));
  });

  it("stop() kills a server that ignores SIGTERM, and does not call that a loss", async () => {
    await open(server("stubborn"));
    await opened.mode.stop(30);
    expect(opened.lines.map(({ text }) => text)).to.include("not now");
    const winner = await Promise.race([opened.lost, Promise.resolve("not lost")]);
    expect(winner).to.equal("not lost");
  });
});
