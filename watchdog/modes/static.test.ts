import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { headerOf, openMode, textOf, type TestMode } from "../fixtures/open-mode.ts";

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

  it("start() rejects a static_path that is no folder", async () => {
    const error: unknown = await openMode({ mode: "static", static_path: "secret" }, {}, folder)
      .mode.start()
      .catch((thrown: unknown) => thrown);
    expect(error).to.have.property("code", "start_failed");
  });
});
