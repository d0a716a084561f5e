import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { headerOf, openMode, textOf, type TestMode, until } from "../fixtures/open-mode.ts";
import { readStreamed } from "../fixtures/streamed-call.ts";
import type { Answer } from "../mode.ts";

const huge = randomBytes(2_000_000);

describe("mode static", () => {
  let folder: string;
  let opened: TestMode;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "busker-static-"));
    mkdirSync(join(folder, "public/sub dir"), { recursive: true });
    writeFileSync(join(folder, "secret"), "secret");
    writeFileSync(join(folder, "public/index.html"), "<p>home");
    writeFileSync(join(folder, "public/a.css"), "a{}");
    writeFileSync(join(folder, "public/sub dir/index.html"), "<p>sub");
    writeFileSync(join(folder, "public/large"), Buffer.alloc(2000));
    writeFileSync(join(folder, "public/huge"), huge);
    symlinkSync("../secret", join(folder, "public/link"));
    opened = openMode({ mode: "static", static_path: "public" }, { maxResponseBytes: 1000 }, folder);
    await opened.mode.start();
  });
  after(() => rmSync(folder, { recursive: true }));

  const answers: readonly (readonly [string, string, number, string, string | undefined])[] = [
    ["GET", "/", 200, "<p>home", "text/html; charset=utf-8"],
    ["POST", "/a.css?v=1", 200, "a{}", "text/css; charset=utf-8"],
    ["HEAD", "/a.css", 200, "", "text/css; charset=utf-8"],
    ["GET", "/sub%20dir/", 200, "<p>sub", "text/html; charset=utf-8"],
    ["GET", "/sub%20dir", 301, "", undefined],
    ["GET", "/a.css/", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "/missing", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "/../secret", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "/%2e%2e/secret", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "/..%2fsecret", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "//../../secret", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "/link", 404, "404 page not found\n", "text/plain; charset=utf-8"],
    ["GET", "/a.css%00.html", 400, "the path is not valid percent-encoded UTF-8\n", "text/plain; charset=utf-8"],
    ["GET", "/%zz", 400, "the path is not valid percent-encoded UTF-8\n", "text/plain; charset=utf-8"],
  ];
  for (const [method, path, status, text, type] of answers)
    it(`answers ${status} to ${method} ${path}`, async () => {
      const answer = await opened.call({ method, path });
      expect([answer.status, textOf(answer), headerOf(answer, "content-type")]).to.deep.equal([status, text, type]);
    });

  it("leads to the folder's page by a relative way, because the function's own path is not known here", async () => {
    expect(headerOf(await opened.call({ path: "/sub%20dir?q" }), "location")).to.equal("sub%20dir/?q");
  });

  it("tells the length to HEAD and nothing new to If-Modified-Since", async () => {
    const head = await opened.call({ method: "HEAD", path: "/large" });
    expect(headerOf(head, "content-length")).to.equal("2000");
    const since = headerOf(head, "last-modified") ?? "";
    expect((await opened.call({ path: "/large", headers: ["if-modified-since", since] })).status).to.equal(304);
  });

  it("answers response_too_large for a file beyond the limit", async () => {
    expect((await opened.call({ path: "/large" })).error).to.equal("response_too_large");
  });

  const bytes = (answer: Answer): string => Buffer.from(answer.body).toString("latin1");

  it("streams a large file with its length, in the pace of its reader, and a part of it", async () => {
    const answer = await opened.call({ method: "GET", path: "/huge", canStream: true });
    expect([headerOf(answer, "content-length"), headerOf(answer, "accept-ranges")]).to.deep.equal(["2000000", "bytes"]);
    const reader = readStreamed(answer, 300_000);
    await until("the credit is used up", () => reader.bytes() === 300_000);
    reader.grant(5_000_000);
    expect(await reader.end).to.equal(undefined);
    expect(Buffer.compare(reader.content(), huge)).to.equal(0);

    const part = await opened.call({
      path: "/huge",
      method: "GET",
      headers: ["Range", "bytes=500-999999"],
      canStream: true,
    });
    expect([part.status, headerOf(part, "content-range")]).to.deep.equal([206, "bytes 500-999999/2000000"]);
    const partReader = readStreamed(part);
    await partReader.end;
    expect(Buffer.compare(partReader.content(), huge.subarray(500, 1_000_000))).to.equal(0);
  });

  it("breaks a large file off when its caller leaves or when it is cut while it is sent, and closes it", async () => {
    const count = (): number => readdirSync("/proc/self/fd").length;
    const before = count();
    const { answer, stop } = opened.begin({ method: "GET", path: "/huge", canStream: true });
    const reader = readStreamed(await answer, 300_000);
    stop("cancelled");
    expect((await reader.end)?.code).to.equal("cancelled");
    writeFileSync(join(folder, "public/cut"), huge);
    const cut = readStreamed(await opened.call({ method: "GET", path: "/cut", canStream: true }), 300_000);
    await until("the credit is used up", () => cut.bytes() === 300_000);
    truncateSync(join(folder, "public/cut"), 10);
    cut.grant(5_000_000);
    expect((await cut.end)?.message).to.contain("changed while it was sent");
    await until("the files are closed", () => count() <= before);
  });

  it("gives one part of a file, none beyond its end, and all of it when the client has another state", async () => {
    const get = (...headers: string[]): Promise<Answer> => opened.call({ method: "GET", path: "/a.css", headers });
    const [part, beyond, whole] = await Promise.all([get("Range", "bytes=1-1"), get("range", "bytes=9-"), get()]);
    expect([part.status, bytes(part), headerOf(part, "content-range")]).to.deep.equal([206, "{", "bytes 1-1/3"]);
    expect([beyond.status, headerOf(beyond, "content-range")]).to.deep.equal([416, "bytes */3"]);
    for (const [name, status] of [
      ["etag", 206],
      ["last-modified", 206],
      ["content-type", 200],
    ] as const)
      expect((await get("Range", "bytes=-1", "If-Range", headerOf(whole, name) ?? "")).status).to.equal(status);
    expect((await opened.call({ path: "/a.css", headers: ["Range", "bytes=1-1"] })).status).to.equal(200);
  });

  it("tells a client nothing new that has the file's tag, and all to one that has another", async () => {
    const tag = headerOf(await opened.call({ path: "/a.css" }), "etag") ?? "";
    const statuses = [tag, `"x", W/${tag}`, "*", '"x"'].map(
      async (text) => (await opened.call({ path: "/a.css", headers: ["If-None-Match", text] })).status,
    );
    expect(await Promise.all(statuses)).to.deep.equal([304, 304, 304, 200]);
  });

  it("start() rejects a static_path that is no folder", async () => {
    const error: unknown = await openMode({ mode: "static", static_path: "secret" }, {}, folder)
      .mode.start()
      .catch((thrown: unknown) => thrown);
    expect(error).to.have.property("code", "start_failed");
  });
});
