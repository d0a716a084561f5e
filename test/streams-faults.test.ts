import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { connect, headers as createHeaders, type Msg, type NatsConnection } from "nats";
import { wireHeaders } from "../schemas/invocation.ts";
import { replicaControlSubject } from "../schemas/subjects.ts";
import { readCredentialsFile } from "../services/bus/credentials.ts";
import { endOf, getResponse, nextChunk, openRequest, readBody, readInto, responseTo } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform, untilInFlight } from "./support/platform.ts";
import { commandLineOf, descriptorsOf, functionProcesses, temporaryFiles, watchdogOf } from "./support/processes.ts";
import { openServerState } from "./support/server-state.ts";
import { openWebSocket } from "./support/websocket.ts";
import { callOverWire, frameHeaders, readFrame } from "./support/wire-call.ts";

/*
 * Streamed calls and what goes wrong with them, through a whole platform (issue 3): processes that are killed, frames
 * that are lost or doubled, callers that grant nothing or vanish; and that nothing is left of any of it.
 */

const fixture = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)), "utf8");
const code = { "server.mjs": fixture("http-function.mjs") };
const http = { fprocess: "node server.mjs", mode: "http" };

interface State {
  readonly aborted: number;
  readonly open: number;
  readonly pid: number;
}

// Long before a call's own deadline.
const soonMs = 8000;

describe("faults of streamed calls", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let nc: NatsConnection;

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform();
    const deployments = [
      { name: "f", code, envVars: { ...http, max_inflight: "0" } },
      { name: "single", code, envVars: { ...http, max_inflight: "1" } },
      { name: "brief", code, envVars: { ...http, exec_timeout: "1s" } },
      { name: "sh", code: { "x.sh": "cat >/dev/null; echo done\n" }, envVars: { fprocess: "sh x.sh" } },
    ];
    for (const fn of deployments) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
    nc = await connect({
      servers: platform.natsUrl,
      authenticator: readCredentialsFile(join(platform.dataFolder, "creds/admin.creds")),
      maxReconnectAttempts: -1,
    });
  });
  after(async () => {
    await nc?.close();
    expect(await platform.stop()).to.equal(0);
  });

  const urlOf = (path: string): string => `${platform.url}/function/${path}`;
  const state = async (name = "f"): Promise<State> => (await (await platform.invoke(`${name}/state`)).json()) as State;
  const watchdog = (name = "f"): number => watchdogOf(platform, name);
  const serves = (name = "f"): Promise<State> =>
    eventually(`${name} serves`, () => state(name).catch(() => undefined), 15_000);

  /** An upload whose client has sent a part and waits; gives how it is told of the end. */
  const sendPart = (path: string): Promise<string> => {
    const request = openRequest(urlOf(path), { headers: { "Content-Length": 50_000_000 } });
    request.write(randomBytes(700_000));
    return responseTo(request).then(
      async (response) => `${response.statusCode} ${(await readBody(response)).toString()}`,
      (error: NodeJS.ErrnoException) => String(error.code),
    );
  };
  const beginUpload = async (path: string): Promise<{ readonly ended: Promise<string> }> => {
    const ended = sendPart(path);
    await eventually("the function has the upload", async () => (await state()).open === 1 || undefined);
    return { ended };
  };
  const beginDownload = async (path: string): Promise<IncomingMessage> => {
    const response = await getResponse(urlOf(path));
    await nextChunk(response);
    return response;
  };

  describe("killed with SIGKILL", () => {
    it("a function's process in mid-download breaks the client's connection", async () => {
      const response = await beginDownload("f/ticks");
      const broken = endOf(response);
      process.kill((await state()).pid, "SIGKILL");
      expect(await broken).to.equal("ECONNRESET");
      await serves();
    });

    it("a function's process in mid-upload is 502 at once, and says why", async () => {
      const { pid } = await state();
      const { ended } = await beginUpload("f/sink");
      const killedMs = performance.now();
      process.kill(pid, "SIGKILL");
      expect(await ended).to.match(
        /^502 the (function's process ended with|function closed the connection|connection to the function failed)/,
      );
      expect(performance.now() - killedMs).to.be.lessThan(soonMs);
      await serves();
    });

    it("a function's process under a WebSocket closes it", async () => {
      const { pid } = await state();
      const client = await openWebSocket({ url: urlOf("f/socket") });
      expect(client.status).to.equal(101);
      process.kill(pid, "SIGKILL");
      await client.closed;
      await serves();
    });

    it("a watchdog in mid-upload is 502 at once, and says so", async () => {
      const pid = watchdog();
      const { ended } = await beginUpload("f/sink");
      const killedMs = performance.now();
      process.kill(pid, "SIGKILL");
      expect(await ended).to.match(/^502 replica .* went away in the middle of the call/);
      expect(performance.now() - killedMs).to.be.lessThan(soonMs);
      await serves();
    });

    it("nats-server in mid-upload is 503 at once, stops the function's request, and all serves again", async () => {
      const { aborted } = await state();
      const { ended } = await beginUpload("f/sink");
      const killedMs = performance.now();
      for (const pid of platform.pids("nats-server")) process.kill(pid, "SIGKILL");
      expect(await ended).to.match(/^503 the connection to the bus broke during the call/);
      expect(performance.now() - killedMs).to.be.lessThan(soonMs);
      await eventually("the function is told", async () => (await serves()).aborted === aborted + 1 || undefined);
    });

    it("a gateway in mid-upload breaks the client's connection and the function's request", async () => {
      const { aborted } = await state();
      const { ended } = await beginUpload("f/sink");
      for (const pid of platform.pids("gateway/main")) process.kill(pid, "SIGKILL");
      expect(await ended).to.equal("ECONNRESET");
      await eventually("the function is told", async () => {
        const now = await state().catch(() => undefined);
        return now?.aborted === aborted + 1 || undefined;
      });
    });
  });

  describe("frames that are not as they should be", () => {
    before(() =>
      eventually("the test is connected again", () =>
        nc.flush().then(
          () => true,
          () => undefined,
        ),
      ),
    );

    /** Shows each message on a subject to `onFrame`, until it has spoiled one. */
    const spoil = async (subject: string, onFrame: (message: Msg) => boolean): Promise<void> => {
      const subscription = nc.subscribe(subject, {
        callback: (error, message) => {
          if (!error && onFrame(message)) subscription.unsubscribe();
        },
      });
      await nc.flush();
    };
    const again = (message: Msg): void =>
      nc.publish(message.subject, message.data, message.headers ? { headers: message.headers } : {});
    const other = (message: Msg, kind: string, number: number): void =>
      nc.publish(message.subject, "spoiled", { headers: frameHeaders(kind, number) });

    const faults: readonly (readonly [string, (message: Msg) => void])[] = [
      ["a doubled part", again],
      ["a lost part", (message) => other(message, "data", readFrame(message).number + 2)],
      ["an end too early", (message) => other(message, "end", readFrame(message).number + 5)],
      ["a second head", (message) => other(message, "head", 0)],
      ["a kind that is not known", (message) => other(message, "wonder", 1)],
    ];
    for (const [what, act] of faults)
      it(`${what} in an answer breaks it at once on both sides`, async () => {
        const { open } = await state();
        let spoiledMs = 0;
        await spoil("_BUSKER.gateway.call.>", (message) => {
          const { kind, number } = readFrame(message);
          if (kind !== "data" || number < 3) return false;
          spoiledMs = performance.now();
          act(message);
          return true;
        });
        const response = await getResponse(urlOf("f/ticks"));
        expect(await endOf(response)).to.equal("ECONNRESET");
        expect(performance.now() - spoiledMs).to.be.lessThan(soonMs);
        await eventually("the function is stopped", async () => (await state()).open === open || undefined);
        await untilInFlight(platform, "f", 0);
      });

    for (const [what, act, why] of [
      ["a doubled part", faults[0]?.[1], /^500 the streamed body is broken: part \d+ came where part \d+ was due/],
      ["a lost part", faults[1]?.[1], /^500 the streamed body is broken: part \d+ came where part \d+ was due/],
      ["a kind that is not known", faults[4]?.[1], /^400 the caller sent a frame that its call has no use for/],
    ] as const)
      it(`${what} in an upload ends it at once on both sides, with the reason`, async () => {
        const { aborted } = await state();
        await spoil("busker.invoke.openfaas-fn.f.>", (message) => {
          const { kind, number } = readFrame(message);
          if (kind !== "data" || number < 3) return false;
          act?.(message);
          return true;
        });
        // It may be over before it is counted.
        expect(await sendPart("f/sink")).to.match(why);
        await eventually("the function is told", async () => (await state()).aborted === aborted + 1 || undefined);
        await untilInFlight(platform, "f", 0);
      });
  });

  describe("callers that know NATS and nothing of ours", () => {
    const soon = (ms: number): string => String(Date.now() + ms);

    it("one that grants no credit is ended at its deadline, and the slot is free", async () => {
      const call = callOverWire(nc, "single", "/flood", { window: "65536", deadline: soon(1000) });
      const last = await call.end(3000);
      expect([last.kind, last.error]).to.deep.equal(["abort", "deadline_exceeded"]);
      const bytes = call.frames.all.reduce(
        (sum, { kind, message }) => sum + (kind === "abort" ? 0 : message.data.length),
        0,
      );
      expect(bytes).to.equal(65_536);
      expect((await state("single")).open).to.equal(0);
    });

    it("one that grants no credit for what a function has long said does not harm the function's next call", async () => {
      await state("f");
      const call = callOverWire(nc, "f", "/pieces?bytes=400000", { window: "399000", deadline: soon(1000) });
      await call.frames.reach(10);
      // It goes over the connection on which the function has ended its answer.
      const next = platform.invoke("f/poll?ms=2000");
      expect((await call.end(3000)).error).to.equal("deadline_exceeded");
      expect(await (await next).text()).to.equal("at last");
    });

    it("one that sends nothing of its streamed body is ended at its deadline, and the slot is free", async () => {
      for (const name of ["single", "sh"]) {
        const call = callOverWire(nc, name, "/hash", { body: "stream", deadline: soon(1000) });
        const last = await call.end(3000);
        expect([last.kind, last.error], name).to.deep.equal(["whole", "deadline_exceeded"]);
      }
      await state("single");
    });

    it("one that sends more than was granted is ended at once, with the reason", async () => {
      // That function does not read, so that no credit is renewed but for what buffers hold.
      const call = callOverWire(nc, "single", "/ticks", { body: "stream", window: "65536" });
      await call.frames.until((all) => all.some(({ kind }) => kind === "head"), "the head");
      const beganMs = performance.now();
      for (let number = 1; number <= 80; number += 1) call.send("data", number, new Uint8Array(500_000));
      const last = await call.end(3000);
      expect([last.kind, last.error]).to.deep.equal(["abort", "internal"]);
      expect(last.message.string()).to.match(/the streamed body is broken: \d+ bytes came where \d+ were granted/);
      expect(performance.now() - beganMs).to.be.lessThan(soonMs);
      await state("single");
    });

    it("one that names no reply subject does not have the replica cut off, and the slot is free", async () => {
      const server = await openServerState(platform);
      try {
        await state("single");
        const before = await server.connections();
        const headers = createHeaders();
        headers.set(wireHeaders.body, "stream");
        nc.publish("busker.invoke.openfaas-fn.single", "begun", { headers });
        await nc.flush();
        await state("single");
        const response = await beginDownload("single/ticks");
        const id = /replicas\/(single-[^/]+)\//.exec(commandLineOf(watchdog("single")).join(" "))?.[1] ?? "";
        nc.publish(replicaControlSubject(id), JSON.stringify({ kind: "reserve", since: 1 }));
        await nc.flush();
        response.destroy();
        await state("single");
        expect(await server.connections()).to.deep.equal(before);
      } finally {
        await server.close();
      }
    });

    for (const [what, path, more] of [
      ["download", "/flood", { window: "65536" }],
      ["upload", "/stream", { body: "stream", window: "65536" }],
    ] as const)
      it(`one that vanishes in mid-${what} stops the function, and the slot is free`, async () => {
        const own = await connect({
          servers: platform.natsUrl,
          authenticator: readCredentialsFile(join(platform.dataFolder, "creds/invoke.creds")),
        });
        const call = callOverWire(own, "single", path, more);
        await call.frames.reach(1);
        await own.close();
        // The one slot is free within the time of a ping, and the function is told at about the same time.
        const beganMs = performance.now();
        await state("single");
        expect(performance.now() - beganMs).to.be.lessThan(soonMs);
        await eventually("the function is stopped", async () => (await state("single")).open === 0 || undefined);
      });
  });

  it("a reader that stops and then goes on gets all, byte for byte", async () => {
    const bytes = 40_000_000;
    const expected = createHash("sha256");
    const numbered = Buffer.alloc(60_000);
    for (let at = 0; at < numbered.length; at += 4) numbered.writeUInt32BE(at, at);
    for (let left = bytes; left > 0; left -= numbered.length) expected.update(numbered.subarray(0, left));
    const response = await getResponse(urlOf(`f/pieces?bytes=${bytes}`));
    // A minute by hand: see the commit. The deadline of the function would be the end of a longer one.
    await pause(3000);
    const hash = createHash("sha256");
    expect(await readInto(response, hash)).to.equal(bytes);
    expect(hash.digest("hex")).to.equal(expected.digest("hex"));
  });

  it("a thousand streamed calls of every end leave nothing behind", async function () {
    this.timeout(90_000);
    const server = await openServerState(platform);
    try {
      const names = ["f", "brief", "sh"];
      const pids = [watchdog("f"), watchdog("brief"), ...platform.pids("gateway/main"), (await state()).pid];
      const descriptors = (): number[] => pids.map(descriptorsOf);
      const body = randomBytes(400_000);
      const post = async (path: string): Promise<unknown> => {
        const request = openRequest(urlOf(path));
        const ended = responseTo(request).then(endOf, (error: NodeJS.ErrnoException) => error.code);
        request.end(body);
        return ended;
      };
      const leave = async (path: string): Promise<void> => {
        const response = await beginDownload(path);
        response.destroy();
      };
      const leaveUpload = async (): Promise<void> => {
        const request = openRequest(urlOf("f/sink"), { headers: { "Content-Length": 2_000_000 } });
        request.write(body);
        await pause(30);
        request.destroy();
      };
      const socket = async (isPolite: boolean): Promise<void> => {
        const client = await openWebSocket({ url: urlOf("f/socket") });
        if (isPolite) client.socket.end();
        else client.socket.resetAndDestroy();
        await client.closed;
      };
      const vanish = async (): Promise<void> => {
        const call = callOverWire(nc, "f", "/stream", { body: "stream", window: "65536" });
        await call.frames.reach(2);
        call.send("abort", 1, "no more");
        await call.end();
      };
      const ends: readonly (() => Promise<unknown>)[] = [
        () => post("f/echo"),
        () => post("sh"),
        () => post("f/refuse"),
        async () => endOf(await getResponse(urlOf("f/breaks"))).catch(() => "before its head"),
        async () => endOf(await getResponse(urlOf("brief/ticks"))),
        () => leave("f/ticks"),
        () => leave("f/flood"),
        leaveUpload,
        () => socket(true),
        () => socket(false),
        vanish,
        async () => getResponse(urlOf("f/range"), { method: "HEAD" }),
        async () => readInto(await getResponse(urlOf("f/compressed?kind=gzip&bytes=400000"))),
      ];
      const quiet = async (): Promise<void> => {
        for (const name of names) await untilInFlight(platform, name, 0);
        await eventually("the function has no call", async () => (await state()).open === 0 || undefined);
      };
      await Promise.all(ends.map((end) => end()));
      await quiet();
      const before = {
        subscriptions: await server.subscriptions(),
        connections: await server.connections(),
        descriptors: descriptors(),
        files: temporaryFiles(),
      };
      const rounds = Math.ceil(1000 / (4 * ends.length));
      for (let round = 0; round < rounds; round += 1)
        await Promise.all([...ends, ...ends, ...ends, ...ends].map((end) => end()));
      await quiet();
      // What a plain client of this test has subscribed to is its own.
      const own = 4 * rounds;
      // Workers that ask for work have one more for the moment of asking.
      await eventually("subscriptions are given up", async () =>
        (await server.subscriptions()) <= before.subscriptions + own ? true : undefined,
      );
      expect(await server.connections()).to.deep.equal(before.connections);
      // Connections to the function are kept for reuse: as many as calls were open at once.
      await eventually("descriptors are closed", () =>
        descriptors().every((count, at) => count <= (before.descriptors[at] ?? 0) + 4 * ends.length) ? true : undefined,
      );
      await eventually("no process is left", () => functionProcesses(platform, /^(cat|sh) /).length === 0 || undefined);
      await eventually("no temporary file is left", () =>
        temporaryFiles().every((file) => before.files.includes(file)) ? true : undefined,
      );
      // A slot that was lost would show here.
      for (const name of ["single", "brief"]) expect((await state(name)).open).to.equal(0);
    } finally {
      await server.close();
    }
  });

  it("a client that waits for the end of its upload's answer hears of every fault by a whole answer or a reset", async () => {
    const request = openRequest(urlOf("brief/sink"));
    request.write("begun");
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect([response.statusCode, (await readBody(response)).toString()]).to.deep.equal([
      504,
      "the function did not answer before its deadline and was stopped\n",
    ]);
    request.destroy();
  });
});
