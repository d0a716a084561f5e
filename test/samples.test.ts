import { execFile, execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect } from "chai";
import { startTestPlatform, type TestPlatform } from "./support/platform.ts";

const root = resolve(import.meta.dirname, "..");
const main = join(root, "dist/services/cli/main.js");
const hasPython = spawnSync("python3", ["--version"]).status === 0;

describe("the busker command and its samples on a real platform", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  /** Runs `busker` with an input, as a person would who has the data folder's password. */
  const busker = (
    args: readonly string[],
    input: string | Buffer = "",
  ): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((done) => {
      const env = {
        PATH: process.env["PATH"],
        HOME: platform.dataFolder,
        BUSKER_URL: platform.url,
        BUSKER_DATA: platform.dataFolder,
      };
      const child = execFile(process.execPath, [main, ...args], { env, maxBuffer: 1 << 26 }, (_error, stdout, stderr) =>
        done({ code: child.exitCode ?? -1, stdout, stderr }),
      );
      child.stdin?.end(input);
    });
  const deploySample = (name: string) => busker(["deploy", join(root, "dist/samples", name)]);

  before(async () => {
    platform = await startTestPlatform();
  });
  after(() => platform?.stop());

  it("wordcount counts as wc does", async () => {
    expect((await deploySample("wordcount")).stdout).to.match(/^wordcount\.openfaas-fn created: http/);
    const readme = readFileSync(join(root, "README.md"));
    const [lines, words, bytes] = execFileSync("wc", { input: readme }).toString().trim().split(/\s+/);
    const { code, stdout } = await busker(["invoke", "wordcount"], readme);
    expect([code, stdout]).to.deep.equal([0, `${lines} lines, ${words} words, ${bytes} bytes\n`]);
  });

  it("markdown renders this project's README to HTML, and shows HTML in it instead of passing it on", async () => {
    await deploySample("markdown");
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const { stdout } = await busker(["invoke", "markdown"], readme);
    expect(stdout)
      .to.include("<h1>Busker</h1>")
      .and.to.include("<th>variable</th>")
      .and.to.include('<code class="language-sh"');
    const evil = await busker(["invoke", "markdown", "-q", "page=", "-d", "<script>alert(1)</script> **b**"]);
    expect(evil.stdout)
      .to.match(/^<!doctype html>/)
      .and.to.include("&lt;script&gt;")
      .and.not.include("<script>");
  });

  it("notes keeps notes over REST, with the status codes of one", async () => {
    await deploySample("notes");
    const created = await busker(["invoke", "notes", "--path", "/notes", "-d", "first"]);
    const { id } = JSON.parse(created.stdout) as { id: string };
    const read = await busker(["invoke", "notes", "-m", "GET", "--path", `/notes/${id}`]);
    const removed = await busker(["invoke", "notes", "-m", "DELETE", "--path", `/notes/${id}`]);
    const gone = await busker(["invoke", "notes", "-m", "GET", "--path", `/notes/${id}`]);
    expect(JSON.parse(read.stdout)).to.deep.equal({ id, text: "first" });
    expect([removed.code, removed.stdout, gone.code]).to.deep.equal([0, "", 1]);
    expect(gone.stderr).to.equal("busker: notes.openfaas-fn answered 404 Not Found\n");
  });

  it("notes shows the request that it gets, as it was sent", async () => {
    const sent = await busker([
      "invoke",
      "notes",
      "-m",
      "PUT",
      "--path",
      "/echo/x",
      "-q",
      "a=1",
      "-H",
      "X-Two: 2",
      "-d",
      "hey",
    ]);
    const seen = JSON.parse(sent.stdout) as {
      method: string;
      path: string;
      headers: Record<string, string>;
      body: string;
    };
    expect([seen.method, seen.path, seen.headers["x-two"], seen.body]).to.deep.equal([
      "PUT",
      "/echo/x?a=1",
      "2",
      "hey",
    ]);
  });

  it("slow sleeps as long as its body or query says, refuses what is no number, and logs how far it is", async () => {
    await deploySample("slow");
    const byBody = await busker(["invoke", "slow", "-d", "0.1"]);
    const byQuery = await busker(["invoke", "slow", "-d", "", "-q", "seconds=1"]);
    const wrong = await busker(["invoke", "slow", "-d", "long"]);
    expect([byBody.stdout, byQuery.stdout, wrong.code]).to.deep.equal(["slept for 0.1 s\n", "slept for 1 s\n", 1]);
    const { stdout } = await busker(["logs", "slow", "--since", "1m"]);
    expect(stdout).to.match(/sleeping for 0\.1 s\n[^]*sleeping for 1 s\n[^]*1 of 1 s\n/);
  });

  it("pystat gives the statistics of the numbers in its input, and 500 without any", async () => {
    const deployed = await deploySample("pystat");
    if (!hasPython) {
      expect(deployed.code).to.equal(1);
      expect(deployed.stderr).to.include('cannot start the function\'s command "python3": not found in /');
      return;
    }
    const { stdout } = await busker(["invoke", "pystat"], "1, 2 and 6\n");
    expect(JSON.parse(stdout)).to.include({ count: 3, sum: 9, mean: 3, median: 2, min: 1, max: 6 });
    const empty = await busker(["invoke", "pystat"], "none");
    expect([empty.code, empty.stderr]).to.deep.equal([
      1,
      "busker: pystat.openfaas-fn answered 500 Internal Server Error\n",
    ]);
  });

  it("a function's life: deployed twice without a new start, scaled, described, removed", async () => {
    const again = await deploySample("wordcount");
    expect(again.stdout).to.match(/^wordcount\.openfaas-fn updated: /);
    expect((await busker(["scale", "wordcount", "2"])).stdout).to.equal(
      "wordcount.openfaas-fn: 2 replicas wished for\n",
    );
    const described = await busker(["describe", "wordcount", "--json"]);
    expect(JSON.parse(described.stdout)).to.include({ name: "wordcount", replicas: 2, envProcess: "sh wordcount.sh" });
    expect((await busker(["list"])).stdout).to.match(/^wordcount +\d\/2 /m);
    expect((await busker(["remove", "wordcount"])).code).to.equal(0);
    expect((await busker(["invoke", "wordcount", "-d", ""])).code).to.equal(1);
    expect((await busker(["remove", "wordcount"])).stderr).to.match(
      /cannot remove wordcount\.openfaas-fn: .*\(HTTP 404\)/,
    );
  });

  it("login keeps only the password that the gateway takes, and version then shows both sides", async () => {
    const wrong = await busker(["login"], "wrong\n");
    const right = await busker(["login"], readFileSync(join(platform.dataFolder, "secrets/basic-auth-password")));
    expect([wrong.code, right.code]).to.deep.equal([1, 0]);
    expect((await busker(["version"])).stdout).to.match(/^client: {2}0\.1\.0\ngateway: \S+ \(.+\), .*process\n$/);
  });
});
