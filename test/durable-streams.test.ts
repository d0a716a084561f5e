import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { expect } from "chai";
import { collect } from "./support/collector.ts";
import { digest, endOf, getResponse, readBody } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/*
 * Large and streamed bodies of durable calls, through a whole platform.
 */

const server = `
import { createServer } from "node:http";
import { createHash } from "node:crypto";
let held = [];
let tries = 0;
createServer((request, response) => {
  switch (new URL(request.url, "http://x").pathname) {
    case "/echo":
      return request.pipe(response);
    case "/hash": {
      const hash = createHash("sha256");
      request.on("data", (chunk) => hash.update(chunk));
      return request.on("end", () => response.end(hash.digest("hex")));
    }
    case "/held":
      tries += 1;
      response.writeHead(203, { "X-Try": tries });
      response.write("try " + tries + " ");
      return held.push(response);
    case "/say": {
      const said = [];
      return request.on("data", (chunk) => said.push(chunk)).on("end", () => {
        for (const other of held) other.write(Buffer.concat(said));
        response.end();
      });
    }
    case "/end":
      for (const other of held.splice(0)) other.end();
      return response.end();
    case "/flood": {
      const piece = Buffer.alloc(65536, "x");
      const flood = () => {
        while (!response.destroyed) if (!response.write(piece)) return response.once("drain", flood);
      };
      return flood();
    }
    default:
      return response.end();
  }
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

interface CallView {
  readonly state: string;
  readonly attempts: readonly object[];
  readonly error?: { readonly code: string };
}

describe("bodies of durable calls", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  const accept = async (path: string, body?: Uint8Array): Promise<string> => {
    const response = await fetch(`${platform.url}/async-function/fn${path}`, { method: "POST", ...(body && { body }) });
    expect(response.status, await response.text()).to.equal(202);
    return response.headers.get("x-call-id") ?? "";
  };
  const responseUrl = (id: string): string => `${platform.url}/async-function/${id}/response`;
  const view = async (id: string, query = ""): Promise<CallView> =>
    (await (await fetch(`${platform.url}/async-function/${id}${query}`)).json()) as CallView;

  /** The response as soon as it is being written. */
  const openResponse = (id: string): Promise<IncomingMessage> =>
    eventually(`a response of call ${id}`, async () => {
      const response = await getResponse(responseUrl(id));
      if (response.statusCode !== 202) return response;
      response.resume();
      return undefined;
    });

  /** What comes of it, as texts. */
  const follow = (response: IncomingMessage) => {
    const seen = collect<string>();
    response.on("data", (chunk: Buffer) => seen.push(chunk.toString()));
    return { seen, ended: endOf(response) };
  };

  before(async function () {
    this.timeout(60_000);
    platform = await startTestPlatform({ BUSKER_MAX_RESULT_BYTES: "30000000" });
    const response = await platform.deploy({
      name: "fn",
      code: { "server.mjs": server },
      envVars: { fprocess: "node server.mjs", mode: "http" },
    });
    expect(response.status, await response.text()).to.equal(202);
  });

  after(async () => {
    expect(await platform.stop()).to.equal(0);
  });

  it("reach the function and come back whole, 20 MB each way", async () => {
    const body = randomBytes(20_000_000);
    const id = await accept("/echo", body);
    expect((await view(id, "?wait=30s")).state).to.equal("succeeded");
    const response = await getResponse(responseUrl(id));
    expect(response.headers["content-length"]).to.equal("20000000");
    expect(digest(await readBody(response))).to.equal(digest(body));
    const hash = await accept("/hash", body);
    await view(hash, "?wait=30s");
    expect((await readBody(await getResponse(responseUrl(hash)))).toString()).to.equal(digest(body));
  });

  it("are read by many while they are written, each word as it comes", async () => {
    const id = await accept("/held");
    const responses = [await openResponse(id), await openResponse(id)];
    expect(responses.map(({ statusCode }) => statusCode)).to.deep.equal([203, 203]);
    const readers = responses.map(follow);
    await platform.invoke("fn/say", { method: "POST", body: "one " });
    for (const { seen } of readers) await seen.until((all) => all.join("").endsWith("one "), "the first word");
    await platform.invoke("fn/say", { method: "POST", body: "two" });
    for (const { seen } of readers) await seen.until((all) => all.join("").endsWith("two"), "the second word");
    expect((await view(id)).state).to.equal("running");
    await platform.invoke("fn/end", { method: "POST" });
    expect(await Promise.all(readers.map(({ ended }) => ended))).to.deep.equal(["complete", "complete"]);
    expect((await view(id, "?wait=10s")).state).to.equal("succeeded");
    expect((await readBody(await getResponse(responseUrl(id)))).toString()).to.match(/^try \d+ one two$/);
  });

  it("break off for who reads them when their queue-worker is killed, and are whole after the next attempt", async () => {
    const id = await accept("/held");
    const first = await openResponse(id);
    const { ended } = follow(first);
    for (const pid of platform.pids("queue-worker/main")) process.kill(pid, "SIGKILL");
    expect(await ended).to.equal("ECONNRESET");
    const second = await eventually(
      "the next attempt",
      async () => {
        const response = await openResponse(id);
        if (response.headers["x-try"] !== first.headers["x-try"]) return response;
        response.destroy();
        return undefined;
      },
      30_000,
    );
    const again = follow(second);
    await platform.invoke("fn/end", { method: "POST" });
    expect(await again.ended).to.equal("complete");
    expect((await view(id, "?wait=10s")).state).to.equal("succeeded");
    expect(again.seen.all.join("")).to.equal(`try ${String(second.headers["x-try"])} `);
  });

  it("end dead when they are larger than what is kept, and who reads them is told", async () => {
    const id = await accept("/flood");
    const { ended } = follow(await openResponse(id));
    expect(await ended).to.equal("ECONNRESET");
    expect(await view(id, "?wait=20s")).to.have.nested.property("error.code", "response_too_large");
    expect((await view(id)).state).to.equal("dead");
  });

  it("break off for who reads them when the call is cancelled", async () => {
    const id = await accept("/held");
    const { seen, ended } = follow(await openResponse(id));
    await seen.reach(1);
    expect((await fetch(`${platform.url}/async-function/${id}`, { method: "DELETE" })).status).to.equal(202);
    expect(await ended).to.equal("ECONNRESET");
    expect((await view(id)).state).to.equal("cancelled");
  });
});
