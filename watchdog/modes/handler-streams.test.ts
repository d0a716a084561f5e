import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { headerOf, openMode, textOf, until, type TestMode } from "../fixtures/open-mode.ts";
import { createUpload, readStreamed, sendAll } from "../fixtures/streamed-call.ts";

describe("mode handler, streamed", () => {
  let opened: TestMode;
  beforeEach(async () => {
    opened = openMode({ mode: "handler", handler: "handler-streams.mjs" }, { maxResponseBytes: 1_000_000 });
    await opened.mode.start();
  });
  afterEach(() => opened.mode.stop(0));

  const streams: readonly (readonly [string, number, string, string, string])[] = [
    ["/iterable", 200, "text/plain; charset=utf-8", "one ", "one two three"],
    ["/web", 200, "text/plain; charset=utf-8", "one ", "one two three"],
    ["/node", 200, "application/octet-stream", "one ", "one two three"],
    ["/response", 201, "text/csv", "a,", "a,b"],
    ["/head-first", 200, "text/event-stream", "", "data: late\n\n"],
    ["/same-memory", 200, "application/octet-stream", "0000", "00001111222233334444"],
  ];
  for (const [path, status, type, first, whole] of streams)
    it(`sends the stream of ${path} as it comes`, async () => {
      const answer = await opened.call({ path, canStream: true });
      expect([answer.status, headerOf(answer, "content-type"), textOf(answer)]).to.deep.equal([status, type, first]);
      const reader = readStreamed(answer);
      expect(await reader.end).to.equal(undefined);
      expect(reader.text()).to.equal(whole);
    });

  for (const [path, , type, , whole] of streams)
    it(`collects the stream of ${path} for a caller who takes none`, async () => {
      const answer = await opened.call({ path });
      expect([answer.stream, headerOf(answer, "content-type"), textOf(answer)]).to.deep.equal([undefined, type, whole]);
    });

  it("sends a stream whole that ends at once, because one message is enough for it", async () => {
    const answer = await opened.call({ path: "/at-once", canStream: true });
    expect([answer.stream, textOf(answer)]).to.deep.equal([undefined, "ab"]);
  });

  it("gives all of a file's stream to a slow reader", async () => {
    const reader = readStreamed(await opened.call({ path: "/file", canStream: true }), 300_000);
    for (let granted = 300_000; granted < 2_400_000; granted += 100_000) {
      await new Promise((next) => setTimeout(next, 1));
      reader.grant(granted);
    }
    expect(await reader.end).to.equal(undefined);
    expect(reader.bytes()).to.equal(2_000_000);
  });

  it("asks for no more than is read, and ends the iterator when its caller leaves", async () => {
    const { answer, stop } = opened.begin({ path: "/flood", canStream: true });
    const reader = readStreamed(await answer, 1_000_000);
    await until("the credit is used up", () => reader.bytes() === 1_000_000);
    await new Promise((next) => setTimeout(next, 30));
    expect(opened.lines.map(({ text }) => text)).to.deep.equal(["flooded 0"]);
    stop("cancelled");
    expect((await reader.end)?.code).to.equal("cancelled");
    await until("the iterator's end", () => opened.lines.some(({ text }) => text === "returned, signal true"));
  });

  for (const [path, told] of [
    ["/web-never", "cancelled"],
    ["/node-never", "closed"],
  ] as const)
    it(`ends the stream of ${path} at the deadline, although it is waiting for a piece`, async () => {
      const { answer, stop } = opened.begin({ path, canStream: true });
      const reader = readStreamed(await answer);
      stop("deadline");
      stop("deadline");
      expect((await reader.end)?.code).to.equal("deadline_exceeded");
      await until("the end of the stream", () => opened.lines.some(({ text }) => text === told));
    });

  it("reads no more of an iterable that cannot be ended, because that would go on for ever", async () => {
    const { answer, stop } = opened.begin({ path: "/no-return", canStream: true });
    const reader = readStreamed(await answer, 300_000);
    await until("the credit is used up", () => reader.bytes() === 300_000);
    stop("cancelled");
    expect((await reader.end)?.code).to.equal("cancelled");
    await new Promise((next) => setTimeout(next, 10));
  });

  it("takes a call that would be a WebSocket for an ordinary one without a body", async () => {
    const upload = createUpload(1000);
    const call = { path: "/count", canStream: true, rest: upload.rest, upgrade: "websocket" } as const;
    expect(textOf(await opened.call(call))).to.equal("0");
    upload.send(Buffer.alloc(900));
    expect(upload.granted()).to.be.greaterThan(500);
  });

  it("ends a stream that comes after the deadline", async () => {
    const { answer, stop } = opened.begin({ path: "/late", canStream: true });
    stop("deadline");
    expect((await answer).error).to.equal("deadline_exceeded");
    await until("the end of the stream", () => opened.lines.some(({ text }) => text === "let go"));
  });

  it("breaks the answer off when the stream throws, and logs it with the call's id", async () => {
    const reader = readStreamed(await opened.call({ path: "/broken", canStream: true, id: "c3" }));
    const error = await reader.end;
    expect([error?.code, error?.message]).to.deep.equal(["function_failed", "the function failed: it broke off"]);
    expect(opened.lines[0]).to.deep.equal({ stream: "stderr", text: "Error: it broke off", callId: "c3" });
  });

  const failures: readonly (readonly [string, string])[] = [
    ["/broken-first", "it never began\n"],
    ["/missing", "ENOENT: no such file or directory, open '/does/not/exist'\n"],
    ["/number", "the handler's stream gave a piece that is neither text nor bytes: number\n"],
  ];
  for (const [path, text] of failures)
    it(`answers 500 for ${path}, which fails before its first piece`, async () => {
      const answer = await opened.call({ path, canStream: true });
      expect([answer.status, textOf(answer)]).to.deep.equal([500, text]);
    });

  it("answers response_too_large for a stream beyond the limit where the caller takes none", async () => {
    expect((await opened.call({ path: "/many" })).error).to.equal("response_too_large");
    expect((await opened.call({ path: "/flood" })).error).to.equal("response_too_large");
    await until("the iterator's end", () => opened.lines.some(({ text }) => text.startsWith("returned")));
  });

  it("streams a whole body that one message does not hold, with its length", async () => {
    const answer = await opened.call({ path: "/large", canStream: true });
    expect(headerOf(answer, "content-length")).to.equal("20000000");
    const reader = readStreamed(answer);
    expect(await reader.end).to.equal(undefined);
    expect(reader.bytes()).to.equal(20_000_000);
  });

  it("gives the body as a stream where the function asks for it, as fast as it is read", async () => {
    const body = randomBytes(3_000_000);
    const upload = createUpload(200_000);
    const { answer } = opened.begin({ path: "/echo", canStream: true, rest: upload.rest });
    const sent = sendAll(upload, body);
    const reader = readStreamed(await answer, 500_000);
    await until("the credit is used up", () => reader.bytes() === 500_000);
    await new Promise((next) => setTimeout(next, 20));
    expect(upload.granted()).to.equal(0);
    reader.grant(Number.POSITIVE_INFINITY);
    expect(await reader.end).to.equal(undefined);
    expect(Buffer.compare(reader.content(), body)).to.equal(0);
    return sent;
  });

  it("gives a whole body as a stream, too, and an empty one", async () => {
    expect(opened.mode.takesStreams).to.equal(true);
    expect(textOf(await opened.call({ path: "/count", body: Buffer.alloc(300_000) }))).to.equal("300000");
    expect(textOf(await opened.call({ path: "/count" }))).to.equal("0");
  });

  it("lets go by what a handler leaves of its body", async () => {
    const upload = createUpload(100_000);
    const { answer } = opened.begin({ path: "/some", rest: upload.rest });
    await sendAll(upload, Buffer.alloc(1_000_000));
    expect(textOf(await answer)).to.equal("some");
  });

  it("survives an upload that breaks while nobody reads it", async () => {
    const upload = createUpload();
    const { answer } = opened.begin({ path: "/unread", rest: upload.rest });
    upload.send(Buffer.alloc(1000));
    upload.fail(new BuskerError("cancelled", "gone"));
    expect(textOf(await answer)).to.equal("not read");
  });
});
