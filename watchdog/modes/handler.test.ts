import { spawn } from "node:child_process";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { fixtures, headerOf, openMode, textOf, until, type TestMode } from "../fixtures/open-mode.ts";

describe("mode handler", () => {
  let opened: TestMode;
  beforeEach(async () => {
    opened = openMode({ mode: "handler" });
    await opened.mode.start();
  });
  afterEach(() => opened.mode.stop(0));

  const answers: readonly (readonly [string, number, string, string | undefined])[] = [
    ["/text", 200, "hello you", "text/plain; charset=utf-8"],
    ["/bytes", 200, "\x01\x02\x03", "application/octet-stream"],
    ["/response", 201, "a,b", "text/csv"],
    ["/chain", 202, '{"done":true}', "application/json"],
    ["/fail", 418, "teapot\n", "text/plain; charset=utf-8"],
    ["/throw", 500, "it broke\n", "text/plain; charset=utf-8"],
    ["/nothing", 200, "", undefined],
    [
      "/function",
      500,
      "the handler gave a function as its answer, which cannot be sent\n",
      "text/plain; charset=utf-8",
    ],
  ];
  for (const [path, status, text, type] of answers)
    it(`answers ${status} ${JSON.stringify(text)} for ${path}`, async () => {
      const answer = await opened.call({ path, body: Buffer.from("you") });
      expect([answer.status, textOf(answer), headerOf(answer, "content-type")]).to.deep.equal([status, text, type]);
      expect(answer.error).to.equal(undefined);
    });

  it("gives the handler the call's head, query and path apart", async () => {
    const answer = await opened.call({ path: "/json?a=1&b=2&b=3", headers: ["X-A", "1", "x-a", "2"], method: "PUT" });
    expect(JSON.parse(textOf(answer))).to.deep.equal({
      status: "fine",
      method: "PUT",
      path: "/json",
      query: { a: "1", b: ["2", "3"] },
      headers: { "x-a": "1, 2" },
    });
  });

  it("refuses a header that would split the answer", async () => {
    const answer = await opened.call({ path: "/split" });
    expect(answer.status).to.equal(500);
    expect(answer.headers.join()).not.to.contain("Evil");
  });

  it("answers response_too_large beyond the limit", async () => {
    expect((await opened.call({ path: "/big" })).error).to.equal("response_too_large");
  });

  it("logs the stack of what was thrown with the call's id, and what is written to the console", async () => {
    await opened.call({ path: "/throw", id: "c9" });
    expect(opened.lines[0]).to.deep.equal({ stream: "stderr", text: "Error: it broke", callId: "c9" });
  });

  it("answers 504 at the deadline for a handler that waits for ever, and aborts its signal", async () => {
    const { answer, stop } = opened.begin({ path: "/wait" });
    stop("deadline");
    expect((await answer).error).to.equal("deadline_exceeded");
    await until("the abort", () => opened.lines.some(({ text }) => text === "aborted: deadline"));
  });

  for (const [handler, told] of [
    ["nowhere.mjs", "nowhere.mjs"],
    ["not-executable", "cannot load"],
    ["no-handler.mjs", "must export a function"],
  ] as const)
    it(`start() rejects the handler ${handler}, saying why`, async () => {
      const error = await openMode({ mode: "handler", handler })
        .mode.start()
        .then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
      expect(error).to.be.instanceOf(BuskerError).with.property("code", "start_failed");
      expect((error as BuskerError).message).to.contain(told);
    });

  for (const path of ["/loop", "/loop-in-stream"])
    it(`ends the process with SIGXCPU when a handler loops beyond its deadline (${path}), because nothing else can stop it`, async () => {
      const beganMs = { at: 0 };
      const child = spawn(process.execPath, ["--import=tsx", `${fixtures}/loop.ts`, path], {
        timeout: 5000,
        killSignal: "SIGKILL",
        stdio: ["ignore", "pipe", "inherit"],
      });
      child.stdout.once("data", () => (beganMs.at = Date.now()));
      const signal = await new Promise((done) => child.once("exit", (_code, name) => done(name)));
      expect(signal).to.equal("SIGXCPU");
      expect(Date.now() - beganMs.at).to.be.within(300, 4900);
    }).timeout(10_000);
});
