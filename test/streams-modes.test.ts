import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { ClientRequest, IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { endOf, getResponse, nextChunk, openRequest, readBody, readInto, responseTo } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform, untilInFlight } from "./support/platform.ts";
import {
  descriptorsOf,
  functionProcesses,
  isAlive,
  statusOf,
  temporaryFiles,
  watchdogOf,
} from "./support/processes.ts";

/*
 * Bodies of any size and their faults in the modes that run a process for each call, a handler, or files, through a whole
 * platform (issue 3). Mode http is in streams.test.ts.
 */

const mebibyte = 1024 * 1024;
const bigBytes = 100 * mebibyte;

const script = `
case $Http_Path in
  /cat) exec cat ;;
  /named) cat /dev/stdin ;;
  /hash) exec sha256sum ;;
  /flood) echo $$; exec yes ;;
  /hold) echo $$; exec sleep 30 ;;
  /midway) echo began; sleep 0.1; exit 3 ;;
  /deaf) echo deaf ;;
  /closed) exec <&-; echo began; sleep 0.3; echo done ;;
  /left) sleep 600 & echo left; sleep 0.05; echo behind ;;
  /fail) exit 3 ;;
esac
`;

const handler = `
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
let ended = 0;
async function* words() {
  for (const word of ["one ", "two ", "three"]) {
    yield word;
    await sleep(30);
  }
}
async function* flood() {
  try {
    for (;;) yield new Uint8Array(65536);
  } finally {
    ended += 1;
  }
}
const cases = {
  "/iterable": () => words(),
  "/web": () => ({ status: 201, body: ReadableStream.from(words()) }),
  "/node": () => Readable.from(words(), { objectMode: false }),
  "/large": () => "x".repeat(20_000_000),
  "/zeros": () => createReadStream("/dev/zero", { end: 50 * 1024 * 1024 - 1 }),
  "/flood": () => flood(),
  "/ended": () => String(ended),
  "/broken": async function* () {
    yield "began";
    await sleep(50);
    throw new Error("it broke off");
  },
};
export default (event, context) => cases[event.path](event, context);
`;

const reader = `
import { createHash } from "node:crypto";
export const streamBody = true;
export default async (event) => {
  if (event.path === "/echo") return event.body;
  const hash = createHash("sha256");
  for await (const chunk of event.body) hash.update(chunk);
  return hash.digest("hex");
};
`;

const processFunction = (name: string, envVars: Readonly<Record<string, string>> = {}) => ({
  name,
  code: { "f.sh": script },
  envVars: { fprocess: "sh f.sh", ...envVars },
});

const block = randomBytes(mebibyte);

/** Pieces of a body that is nowhere in memory as a whole; each begins with its number. */
function* piecesOf(bytes: number): Generator<Buffer> {
  for (let at = 0; at < bytes; at += mebibyte) {
    const piece = Buffer.from(block.subarray(0, Math.min(mebibyte, bytes - at)));
    piece.writeUInt32BE(at / mebibyte);
    yield piece;
  }
}

const hashOf = (bytes: number): string => {
  const hash = createHash("sha256");
  for (const piece of piecesOf(bytes)) hash.update(piece);
  return hash.digest("hex");
};

const readText = async (response: IncomingMessage): Promise<string> => (await readBody(response)).toString();

describe("streamed bodies in every mode", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let files: string;
  // Of somebody who was killed before.
  let earlier: readonly string[];

  before(async function () {
    this.timeout(60_000);
    earlier = temporaryFiles();
    files = await mkdtemp(join(tmpdir(), "busker-files-"));
    const big = createWriteStream(join(files, "big"));
    for (const piece of piecesOf(bigBytes)) if (!big.write(piece)) await once(big, "drain");
    big.end();
    await once(big, "close");
    platform = await startTestPlatform();
    const deployments = [
      processFunction("p"),
      processFunction("pool", { mode: "pool", fprocess: "cat" }),
      processFunction("serial", { mode: "serializing" }),
      processFunction("brief", { exec_timeout: "1s" }),
      { name: "h", code: { "h.mjs": handler }, envVars: { mode: "handler", handler: "h.mjs" } },
      { name: "reader", code: { "handler.mjs": reader }, envVars: { mode: "handler" } },
      { name: "files", code: { x: "" }, envVars: { mode: "static", static_path: files } },
    ];
    for (const fn of deployments) {
      const response = await platform.deploy(fn);
      expect(response.status, await response.text()).to.equal(202);
    }
  });

  after(async () => {
    const code = await platform?.stop();
    await rm(files, { recursive: true, force: true });
    expect(code).to.equal(0);
  });

  const open = (path: string, headers: Record<string, string | number> = {}): ClientRequest =>
    openRequest(`${platform.url}/function/${path}`, { headers });

  const get = (path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> =>
    getResponse(`${platform.url}/function/${path}`, { headers });

  /** Sends a body of `piecesOf`; stops when nobody takes it any more. */
  const sendPieces = async (request: ClientRequest, bytes: number): Promise<void> => {
    const isOver = new Promise<"over">((done) => request.once("close", () => done("over")));
    for (const piece of piecesOf(bytes))
      if (!request.write(piece) && (await Promise.race([once(request, "drain"), isOver])) === "over") return;
    request.end();
  };

  const exchange = async (path: string, bytes: number, framing: string) => {
    const request = open(path, framing === "chunked" ? {} : { "Content-Length": bytes });
    const responded = responseTo(request);
    const sent = sendPieces(request, bytes);
    const response = await responded;
    const hash = createHash("sha256");
    const got = await readInto(response, hash);
    await sent;
    return { status: response.statusCode, bytes: got, hash: hash.digest("hex") };
  };

  for (const bytes of [1024, mebibyte, 10 * mebibyte, bigBytes])
    for (const framing of ["Content-Length", "chunked"])
      it(`cat gives back ${bytes} bytes with ${framing} as they were sent`, async () => {
        expect(await exchange("p/cat", bytes, framing)).to.deep.equal({ status: 200, bytes, hash: hashOf(bytes) });
      });

  it("a process of the pool gives back 10 MiB, and a handler that asked for a stream", async () => {
    const bytes = 10 * mebibyte;
    for (const path of ["pool", "reader/echo"])
      expect(await exchange(path, bytes, "chunked")).to.deep.equal({ status: 200, bytes, hash: hashOf(bytes) });
  });

  it("a long body arrives whole at a process that opens it by name, and at one that reads all before it answers", async () => {
    const bytes = 5 * mebibyte;
    expect((await exchange("p/named", bytes, "chunked")).hash).to.equal(hashOf(bytes));
    for (const path of ["p/hash", "serial/hash", "reader/hash"]) {
      const request = open(path, { "Content-Length": bytes });
      const responded = responseTo(request);
      await sendPieces(request, bytes);
      expect(await readText(await responded), path).to.contain(hashOf(bytes));
    }
  });

  it("ten at once do not disturb each other", async () => {
    const bytes = 3 * mebibyte;
    const answers = await Promise.all(Array.from({ length: 10 }, () => exchange("p/cat", bytes, "chunked")));
    for (const answer of answers) expect(answer.hash).to.equal(hashOf(bytes));
  });

  it("the first bytes come out while the request is still open", async () => {
    const request = open("p/cat");
    request.write("one");
    const response = await responseTo(request);
    expect(await nextChunk(response)).to.equal("one");
    request.write("two");
    expect(await nextChunk(response)).to.equal("two");
    request.end();
    expect(await readText(response)).to.equal("");
  });

  it("a client that does not read holds the process up, in bounded memory, and gets every byte when it reads", async () => {
    const response = await get("p/flood");
    const pid = Number((await nextChunk(response)).split("\n")[0]);
    const watchdog = watchdogOf(platform, "p");
    let last = -1;
    const held = await eventually("the process is held up", async () => {
      const now = statusOf(pid, "io", "wchar");
      const isHeld = now > 0 && now === last;
      last = now;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return isHeld ? now : undefined;
    });
    expect(held).to.be.lessThan(32 * mebibyte);
    expect(statusOf(watchdog, "status", "VmRSS")).to.be.lessThan(200 * 1024);
    let bytes = 0;
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      if (bytes > held + 8 * mebibyte) break;
    }
    expect(bytes).to.be.greaterThan(held);
    await eventually("the process is gone", () => !isAlive(pid) || undefined);
  });

  it("a client that goes away has its process killed then", async () => {
    const response = await get("p/hold");
    const pid = Number(await nextChunk(response));
    const beganMs = performance.now();
    response.destroy();
    await eventually("the process is gone", () => !isAlive(pid) || undefined);
    // Without its client it would hold for as long as its call may take.
    expect(performance.now() - beganMs).to.be.lessThan(15_000);
  });

  it("a client that goes away in the middle of its upload has its process killed", async () => {
    const request = open("p/hold", { "Content-Length": 10 * mebibyte });
    request.write(block);
    const response = await responseTo(request);
    const pid = Number(await nextChunk(response));
    request.destroy();
    await eventually("the process is gone", () => !isAlive(pid) || undefined);
  });

  it("a process that fails in the middle breaks the client's connection, and is 500 before it has answered", async () => {
    const response = await get("p/midway");
    expect(response.statusCode).to.equal(200);
    expect(await endOf(response)).to.equal("ECONNRESET");
    expect((await platform.invoke("p/fail")).status).to.equal(500);
    const serial = await platform.invoke("serial/midway");
    expect([serial.status, await serial.text()]).to.deep.equal([500, "the function failed: exit code 3\nbegan\n"]);
  });

  it("a process at its deadline in mid-stream is killed, and the client's connection broken", async () => {
    const response = await get("brief/hold");
    const pid = Number(await nextChunk(response));
    expect(await endOf(response)).to.equal("ECONNRESET");
    await eventually("the process is gone", () => !isAlive(pid) || undefined);
  });

  it("a process that does not read its input answers all the same", async () => {
    const bytes = 10 * mebibyte;
    for (const [path, text] of [
      ["p/deaf", "deaf\n"],
      ["p/closed", "began\ndone\n"],
    ] as const) {
      const request = open(path, { "Content-Length": bytes });
      const responded = responseTo(request);
      const sent = sendPieces(request, bytes);
      expect(await readText(await responded)).to.equal(text);
      request.destroy();
      await sent;
    }
  });

  for (const [path, status] of [
    ["iterable", 200],
    ["web", 201],
    ["node", 200],
  ] as const)
    it(`a handler's stream (${path}) comes as it is made`, async () => {
      const response = await get(`h/${path}`);
      expect([response.statusCode, await nextChunk(response)]).to.deep.equal([status, "one "]);
      expect(await readText(response)).to.equal("two three");
    });

  it("a handler's large answers come whole: one text, and a file's stream", async () => {
    const large = await get("h/large");
    expect(large.headers["content-length"]).to.equal("20000000");
    expect(await readInto(large, createHash("sha256"))).to.equal(20_000_000);
    expect(await readInto(await get("h/zeros"), createHash("sha256"))).to.equal(50 * mebibyte);
  });

  it("a handler's stream ends with its caller, and breaks the connection when it throws", async () => {
    const response = await get("h/flood");
    await nextChunk(response);
    response.destroy();
    await eventually("the stream has ended", async () =>
      (await (await platform.invoke("h/ended")).text()) === "1" ? true : undefined,
    );
    const broken = await get("h/broken");
    expect(await endOf(broken)).to.equal("ECONNRESET");
  });

  it("a file of 100 MiB comes as it is, with its length, in bounded memory", async () => {
    const response = await get("files/big");
    expect(response.headers["content-length"]).to.equal(String(bigBytes));
    const hash = createHash("sha256");
    expect(await readInto(response, hash)).to.equal(bigBytes);
    expect(hash.digest("hex")).to.equal(hashOf(bigBytes));
    expect(statusOf(watchdogOf(platform, "files"), "status", "VmHWM")).to.be.lessThan(200 * 1024);
  });

  it("a part of a file comes by itself, large or small, and none beyond its end", async () => {
    for (const [range, start, end] of [
      ["bytes=100-199", 100, 199],
      [`bytes=${40 * mebibyte + 5}-`, 40 * mebibyte + 5, bigBytes - 1],
      ["bytes=-1000", bigBytes - 1000, bigBytes - 1],
    ] as const) {
      const response = await get("files/big", { Range: range });
      expect([
        response.statusCode,
        response.headers["content-range"],
        response.headers["content-length"],
      ]).to.deep.equal([206, `bytes ${start}-${end}/${bigBytes}`, String(end - start + 1)]);
      const hash = createHash("sha256");
      await readInto(response, hash);
      const wanted = createHash("sha256");
      for await (const chunk of createReadStream(join(files, "big"), { start, end })) wanted.update(chunk as Buffer);
      expect(hash.digest("hex")).to.equal(wanted.digest("hex"));
    }
    const beyond = await get("files/big", { Range: `bytes=${bigBytes}-` });
    expect([beyond.statusCode, beyond.headers["content-range"]]).to.deep.equal([416, `bytes */${bigBytes}`]);
    beyond.resume();
  });

  it("leaves nothing behind after two hundred calls of every end", async function () {
    this.timeout(60_000);
    const names = ["p", "h", "files", "pool"];
    const descriptors = (): number[] => names.map((name) => descriptorsOf(watchdogOf(platform, name)));
    // Where the machine is busy, the connection may break before the head is out.
    const broken = (path: string): Promise<unknown> =>
      get(path).then(endOf, (error: NodeJS.ErrnoException) => error.code);
    const ends: readonly (() => Promise<unknown>)[] = [
      () => exchange("p/cat", 400_000, "chunked"),
      () => exchange("pool", 400_000, "chunked"),
      () => broken("p/midway"),
      async () => endOf(await get("p/left")),
      async () => (await get("p/flood")).destroy(),
      async () => (await get("h/flood")).destroy(),
      () => broken("h/broken"),
      async () => (await get("files/big")).destroy(),
      async () => (await get("p/hold")).destroy(),
      async () => endOf(await get("h/iterable")),
    ];
    await Promise.all(ends.map((end) => end()));
    const before = descriptors();
    for (let round = 0; round < 10; round += 1) await Promise.all([...ends, ...ends].map((end) => end()));
    for (const name of names) await untilInFlight(platform, name, 0);
    const left = (): readonly string[] => functionProcesses(platform, /^(yes|sleep|cat|sha256sum)\b/);
    // The pool's own waiting processes stay.
    await eventually("no process is left", () => left().every((line) => line === "cat") || undefined);
    expect(left().length).to.be.lessThanOrEqual(4);
    await eventually("descriptors are closed", () =>
      descriptors().every((count, at) => count <= (before[at] ?? 0) + 30) ? true : undefined,
    );
    // Another platform on this machine may be making its own just now.
    await eventually("no temporary file is left", () =>
      temporaryFiles().every((file) => earlier.includes(file)) ? true : undefined,
    );
  });
});
