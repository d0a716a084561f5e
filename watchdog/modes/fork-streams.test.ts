import { createHash, randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { fixtures, isAlive, openMode, textOf, until } from "../fixtures/open-mode.ts";
import { createUpload, readStreamed, sendAll } from "../fixtures/streamed-call.ts";
import type { Mode } from "../mode.ts";

const hostile = (how: string): string => `${fixtures}/hostile.sh ${how}`;
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A variable that no shell passes on, so that Node itself forks. */
const unshellable = { "a.b": "c" };

for (const [title, mode, ownEnv] of [
  ["streaming", "streaming", {}],
  ["streaming, forked by Node itself", "streaming", unshellable],
  ["pool", "pool", {}],
] as const)
  describe(`mode ${title}, streamed`, () => {
    const started: Mode[] = [];
    const open = async (fprocess: string, env: Record<string, string> = {}) => {
      const opened = openMode({ mode, fprocess, ...env }, { maxResponseBytes: 1_000_000 }, fixtures, ownEnv);
      await opened.mode.start();
      started.push(opened.mode);
      return opened;
    };
    afterEach(() => Promise.all(started.splice(0).map((running) => running.stop(0))));

    it("gives the head with the first output and every piece as it is written", async () => {
      const { call } = await open(hostile("steps"));
      const answer = await call({ canStream: true });
      expect([answer.status, textOf(answer)]).to.deep.equal([200, "one\n"]);
      const reader = readStreamed(answer);
      await until("the second piece", () => reader.text() === "one\ntwo\n");
      expect(await reader.end).to.equal(undefined);
      expect(reader.text()).to.equal("one\ntwo\nthree\n");
    });

    it("answers whole where the caller takes no stream", async () => {
      const answer = await (await open(hostile("steps"))).call();
      expect([textOf(answer), answer.stream]).to.deep.equal(["one\ntwo\nthree\n", undefined]);
    });

    for (const bytes of [1, 300_000, 5_000_000])
      it(`gives back a streamed body of ${bytes} bytes, in the pace of whoever reads it`, async () => {
        const body = randomBytes(bytes);
        const upload = createUpload();
        const { answer } = (await open("cat")).begin({ canStream: true, rest: upload.rest });
        const sent = sendAll(upload, body);
        const head = await answer;
        if (!head.stream) return expect(Buffer.compare(Buffer.from(head.body), body)).to.equal(0);
        const reader = readStreamed(head, 1000);
        for (let granted = 1000; granted < bytes + 300_000; granted += 150_000) {
          reader.grant(granted);
          await new Promise((next) => setImmediate(next));
        }
        expect(await reader.end).to.equal(undefined);
        expect(digest(reader.content())).to.equal(digest(body));
        return sent;
      });

    it("gives all that a process has left in its pipe when it ended, however late it is read", async () => {
      const { call } = await open(hostile("large"));
      const reader = readStreamed(await call({ canStream: true }), 500_000);
      for (let granted = 500_000; granted < 3_200_000; granted += 100_000) {
        await new Promise((next) => setTimeout(next, 2));
        reader.grant(granted);
      }
      expect(await reader.end).to.equal(undefined);
      expect([reader.bytes(), reader.content().subarray(-4).toString()]).to.deep.equal([3_000_004, "end\n"]);
    });

    it("holds a process up whose output nobody reads, and kills it when it is stopped", async () => {
      const { begin, lines } = await open(hostile("endless"));
      const { answer, stop } = begin({ canStream: true });
      const reader = readStreamed(await answer, 400_000);
      await until("the credit is used up", () => reader.bytes() === 400_000);
      const pid = Number(lines.find(({ callId }) => callId)?.text);
      const before = process.memoryUsage().arrayBuffers;
      await new Promise((next) => setTimeout(next, 100));
      expect(process.memoryUsage().arrayBuffers - before).to.be.lessThan(4_000_000);
      expect(isAlive(pid)).to.equal(true);
      stop("deadline");
      expect((await reader.end)?.code).to.equal("deadline_exceeded");
      await until("the end of the process", () => !isAlive(pid));
    });

    it("breaks the answer off when the process fails in the middle, and says why in the log", async () => {
      const { call, lines } = await open(hostile("midway"));
      const answer = await call({ canStream: true });
      expect(answer.status).to.equal(200);
      const error = await readStreamed(answer).end;
      expect([error?.code, error?.message]).to.deep.equal(["function_failed", "the function failed: exit code 4"]);
      expect(lines.map(({ text }) => text)).to.include("the answer was broken off: the function failed: exit code 4");
    });

    it("answers 500 whole when the process fails before anything went out", async () => {
      const { call } = await open(hostile("fail"));
      // What a busy machine makes it say long before it ends goes out as it comes.
      let answer = await call({ canStream: true });
      for (let more = 0; answer.stream && more < 20; more += 1) {
        await readStreamed(answer).end;
        answer = await call({ canStream: true });
      }
      expect([answer.status, answer.stream, textOf(answer)]).to.deep.equal([
        500,
        undefined,
        "the function failed: exit code 3\npartial\n",
      ]);
    });

    it("lets go by what a process does not read, so that its client is not held up", async () => {
      const upload = createUpload(100_000);
      const { answer } = (await open(hostile("closed"))).begin({ canStream: true, rest: upload.rest });
      await sendAll(upload, randomBytes(2_000_000));
      const reader = readStreamed(await answer);
      expect(await reader.end).to.equal(undefined);
      expect(reader.text()).to.equal("began\ndone\n");
    });

    it("holds an upload up that the process does not read yet", async () => {
      const upload = createUpload(100_000);
      const { answer, stop } = (await open("sleep 10")).begin({ canStream: true, rest: upload.rest });
      void sendAll(upload, randomBytes(2_000_000)).catch(() => undefined);
      await until("all that was granted is sent", () => upload.granted() === 0);
      await new Promise((next) => setTimeout(next, 50));
      expect(upload.granted()).to.equal(0);
      stop("cancelled");
      expect((await answer).error).to.equal("cancelled");
    });

    it("takes a call that would be a WebSocket for an ordinary one without a body", async () => {
      const { rest } = createUpload();
      const answer = await (await open("cat")).call({ canStream: true, rest, upgrade: "websocket" });
      expect([answer.status, textOf(answer)]).to.deep.equal([200, ""]);
    });

    it("kills the process when its upload breaks", async () => {
      const upload = createUpload();
      const { begin, lines } = await open(hostile("stubborn"));
      const { answer } = begin({ rest: upload.rest });
      await until("the first line", () => lines.length > 0);
      upload.fail(new BuskerError("cancelled", "gone"));
      expect((await answer).error).to.equal("cancelled");
      const pids = lines[0]?.text.split(" ").map(Number) ?? [];
      await until("the end of the group", () => !pids.some(isAlive));
    });

    it("leaves no descriptor behind", async () => {
      const { begin } = await open("cat");
      const round = async (): Promise<void> => {
        const upload = createUpload();
        const { answer } = begin({ canStream: true, rest: upload.rest });
        await sendAll(upload, randomBytes(300_000));
        const head = await answer;
        if (head.stream) await readStreamed(head).end;
      };
      const count = (): number => readdirSync("/proc/self/fd").length;
      await round();
      const before = count();
      for (let rounds = 0; rounds < 40; rounds++) await round();
      // Pipes are made in a batch, and processes wait.
      await until("descriptors are closed", () => count() <= before + 16);
    });
  });

describe("mode streaming, streamed", () => {
  it("gives real pipes at /dev/stdin, /dev/stdout and /dev/stderr for a streamed body, too", async () => {
    const { mode, begin, lines } = openMode({ fprocess: hostile("named") });
    await mode.start();
    const upload = createUpload();
    const { answer } = begin({ rest: upload.rest });
    await sendAll(upload, Buffer.from("in"));
    expect(textOf(await answer)).to.equal("in");
    expect(lines.map(({ text }) => text)).to.deep.equal(["err"]);
    await mode.stop(0);
  });

  it("collects a body for marshal_request and in mode serializing, which need it whole", () => {
    for (const env of [{ marshal_request: "true" }, { mode: "serializing" }, { mode: "pool", marshal_request: "true" }])
      expect(openMode({ fprocess: "cat", ...env }).mode.takesStreams).to.equal(false);
    expect(openMode({ fprocess: "cat" }).mode.takesStreams).to.equal(true);
  });

  it("refuses a streamed call whose head the kernel cannot take, and leaves nothing open", async () => {
    const { mode, begin } = openMode({ fprocess: "cat" });
    await mode.start();
    const count = (): number => readdirSync("/proc/self/fd").length;
    const refuse = async (): Promise<void> => {
      const upload = createUpload(100_000);
      const { answer } = begin({ headers: ["X-Nul", "a\0b"], rest: upload.rest });
      await sendAll(upload, randomBytes(300_000));
      expect((await answer).error).to.equal("invalid_request");
    };
    await refuse();
    const before = count();
    for (let times = 0; times < 20; times++) await refuse();
    expect(count()).to.be.lessThanOrEqual(before + 12);
    await mode.stop(0);
  });
});
