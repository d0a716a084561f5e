import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import type { Mode } from "../mode.ts";
import { fixtures, headerOf, isAlive, openMode, textOf, until } from "../fixtures/open-mode.ts";

const hostile = (how: string): string => `${fixtures}/hostile.sh ${how}`;

const startFault = async (env: Record<string, string>): Promise<BuskerError | undefined> =>
  openMode(env)
    .mode.start()
    .then(
      () => undefined,
      (error: unknown) => (error instanceof BuskerError ? error : undefined),
    );

/** A variable that no shell passes on, so that Node itself forks. */
const unshellable = { "a.b": "c" };

for (const [title, mode, ownEnv] of [
  ["streaming", "streaming", {}],
  ["serializing", "serializing", {}],
  ["streaming, forked by Node itself", "streaming", unshellable],
  ["pool", "pool", {}],
] as const)
  describe(`mode ${title}`, () => {
    const open = async (fprocess: string, env: Record<string, string> = {}) => {
      const opened = openMode({ mode, fprocess, ...env }, { maxResponseBytes: 1_000_000 }, fixtures, ownEnv);
      await opened.mode.start();
      started.push(opened.mode);
      return opened;
    };
    const started: Mode[] = [];
    afterEach(() => Promise.all(started.splice(0).map((running) => running.stop(0))));

    for (const bytes of [0, 11, 65_536, 999_999])
      it(`gives back what cat was given: ${bytes} bytes`, async () => {
        const body = Buffer.alloc(bytes, "0123456789");
        const answer = await (await open("cat")).call({ body });
        expect(answer.status).to.equal(200);
        expect(Buffer.compare(Buffer.from(answer.body), body)).to.equal(0);
      });

    const endings: readonly (readonly [string, number, string, string | undefined])[] = [
      ["fail", 500, "the function failed: exit code 3\npartial\n", undefined],
      ["killed", 500, "the function failed: signal SIGKILL\n", undefined],
      ["deaf", 200, "deaf\n", undefined],
      ["silent", 200, "", undefined],
      ["talk", 200, "out\n", undefined],
      ["flood", 502, "the function's response is larger than the limit of 1000000 bytes\n", "response_too_large"],
    ];
    for (const [how, status, text, error] of endings)
      it(`answers ${status} for a function that is ${how}`, async () => {
        const answer = await (await open(hostile(how))).call({ body: Buffer.alloc(500_000) });
        expect([answer.status, textOf(answer), answer.error]).to.deep.equal([status, text, error]);
      });

    for (const how of ["grandchild", "hidden"])
      it(`does not wait for a ${how} process and kills it, because it belongs to a call that is over`, async () => {
        const answer = await (await open(hostile(how))).call();
        const pid = Number(textOf(answer));
        expect(answer.status).to.equal(200);
        expect(pid).to.be.greaterThan(1);
        await until("the end of the grandchild", () => !isAlive(pid));
      });

    for (const [cause, status, error] of [
      ["deadline", 504, "deadline_exceeded"],
      ["cancelled", 499, "cancelled"],
    ] as const)
      it(`kills the whole group at ${cause}, SIGTERM ignored or not`, async () => {
        const { begin, lines } = await open(hostile("stubborn"));
        const { answer, stop } = begin();
        await until("the first line", () => lines.length > 0);
        const pids = lines[0]?.text.split(" ").map(Number) ?? [];
        expect(pids.filter(isAlive)).to.have.length(2);
        stop(cause);
        const { status: got, error: code } = await answer;
        expect([got, code]).to.deep.equal([status, error]);
        stop(cause);
        await until("the end of the group", () => !pids.some(isAlive));
      });

    it("logs stderr line by line with the call's id", async () => {
      const { call, lines } = await open(hostile("talk"));
      await call({ id: "c7" });
      // Without those about other processes of the pool.
      expect(lines.filter(({ callId }) => callId)).to.deep.equal([
        { stream: "stderr", text: "one", callId: "c7" },
        { stream: "stderr", text: "two", callId: "c7" },
      ]);
    });

    it("puts stderr into the answer with combine_output, as the classic watchdog does", async () => {
      const { call, lines } = await open(hostile("talk"), { combine_output: "true" });
      expect(textOf(await call()))
        .to.contain("one")
        .and.to.contain("out");
      expect(lines.filter(({ callId }) => callId)).to.be.empty;
    });

    it("gives the head in the input with marshal_request", async () => {
      const { call } = await open("cat", { marshal_request: "true" });
      const answer = await call({ headers: ["X-A", "1", "X-A", "2"], body: Buffer.from("hi") });
      expect(JSON.parse(textOf(answer))).to.deep.equal({ header: { "X-A": ["1", "2"] }, body: { raw: "aGk=" } });
    });

    it("kills what is left at stop(), SIGTERM ignored or not", async () => {
      const { begin, lines, mode: running } = await open(hostile("stubborn"));
      const { answer } = begin();
      await until("the first line", () => lines.length > 0);
      await running.stop(20);
      expect(textOf(await answer)).to.contain("SIGKILL");
      const pids = lines[0]?.text.split(" ").map(Number) ?? [];
      expect(pids).to.have.length(2);
      await until("the end of the group", () => !pids.some(isAlive));
    });

    it("start() rejects a command that is missing or may not be run, naming it", async () => {
      const missing = await startFault({ mode, fprocess: "no-such-program" });
      expect([missing?.code, missing?.message]).to.satisfy(
        ([code, text]: string[]) => code === "start_failed" && text?.includes("no-such-program"),
      );
      expect((await startFault({ mode, fprocess: `${fixtures}/not-executable` }))?.message).to.contain(
        "is not executable",
      );
    });
  });

describe("mode streaming and serializing", () => {
  const started: Mode[] = [];
  afterEach(() => Promise.all(started.splice(0).map((mode) => mode.stop(0))));

  const variables = async (env: Record<string, string>, headers: string[], path: string): Promise<string[]> => {
    const { mode, call } = openMode({ fprocess: hostile("env"), ...env });
    started.push(mode);
    await mode.start();
    return textOf(await call({ headers, path, method: "PUT", body: Buffer.from("abc") })).split("\n");
  };

  it("tell the function its call in the environment, in both watchdogs' names", async () => {
    expect(await variables({}, ["content-type", "a/b", "X-ONE", "1", "x-one", "2"], "/a/b?c=d")).to.include.members([
      "Http_Content_Type=a/b",
      "Http_X_One=1",
      "Http_Method=PUT",
      "Http_Path=/a/b",
      "Http_Query=c=d",
      "Http_Content_Length=3",
      "Http_ContentLength=3",
      "Http_X_Call_Id=call-1",
    ]);
  });

  it("tell nothing with cgi_headers false", async () => {
    expect((await variables({ cgi_headers: "false" }, ["A", "b"], "/")).filter((line) => line.startsWith("Http_"))).to
      .be.empty;
  });

  it("refuse a call whose head the kernel cannot take, and go on", async () => {
    const { mode, call } = openMode({ fprocess: "cat" });
    started.push(mode);
    await mode.start();
    expect((await call({ headers: ["X-Nul", "a\0b"] })).error).to.equal("invalid_request");
    expect((await call({ headers: ["X-Long", "x".repeat(200_000)] })).error).to.equal("invalid_request");
    expect((await call()).status).to.equal(200);
  });

  const types: readonly (readonly [string, Record<string, string>, string])[] = [
    ["streaming", {}, "application/octet-stream"],
    ["serializing", {}, "text/csv"],
    ["streaming", { content_type: "a/b" }, "a/b"],
    ["serializing", { content_type: "a/b" }, "a/b"],
  ];
  for (const [mode, env, type] of types)
    it(`answer as ${type} in mode ${mode} with ${JSON.stringify(env)} to a request of text/csv`, async () => {
      const opened = openMode({ mode, fprocess: "cat", ...env });
      started.push(opened.mode);
      await opened.mode.start();
      expect(headerOf(await opened.call({ headers: ["content-type", "text/csv"] }), "Content-Type")).to.equal(type);
    });
});

describe("mode pool", () => {
  it("serves a program that does not wait for its call, because a fresh process can still run it", async () => {
    const { mode, call, lines } = openMode({ mode: "pool", fprocess: hostile("early") });
    await mode.start();
    await until("the note about an early end", () => lines.length > 0);
    expect((await call()).status).to.equal(200);
    await mode.stop(0);
  });

  it("replaces what it has used, so that many calls find a process", async () => {
    const { mode, call } = openMode({ mode: "pool", fprocess: hostile("late"), pool_size: "2" });
    await mode.start();
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => call({ body: Buffer.from(`${index} `) })),
    );
    expect(answers.map(textOf)).to.deep.equal(answers.map((_, index) => `${index} answered\n`));
    await mode.stop(0);
  });
});
