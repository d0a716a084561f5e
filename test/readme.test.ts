import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { startTestEngine } from "./support/engine.ts";

const root = resolve(import.meta.dirname, "..");

/** The blocks of the README that are marked with these words, in its order. */
const blocks = (info: string): readonly string[] =>
  [...readFileSync(join(root, "README.md"), "utf8").matchAll(/^```(.*)\n([^]*?)^```$/gm)].flatMap(([, words, text]) =>
    words === info && text !== undefined ? [text] : [],
  );

/** The files of this tree as they would be committed, and the packages installed in it: what `git clone` and `npm ci` give. */
const makeClone = (folder: string): void => {
  const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "-z"], { cwd: root }).toString();
  for (const path of listed.split("\0").filter((path) => path !== "" && existsSync(join(root, path)))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(root, path), join(folder, path));
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  // Older than what is installed, so that nothing is installed again.
  utimesSync(join(folder, "package-lock.json"), 0, 0);
};

/** Lines of a started platform up to `ready`. */
const readUntilReady = (child: ChildProcess): Promise<readonly string[]> =>
  new Promise((done, failed) => {
    const lines: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      if (stream)
        createInterface({ input: stream }).on("line", (line) => {
          lines.push(line);
          if (line.startsWith("ready")) done(lines);
        });
    child.once("exit", (code) => failed(new Error(`it ended with ${code}:\n${lines.join("\n")}`)));
  });

/** The URL that the platform shows under a heading of its welcome. */
const addressIn = (lines: readonly string[], key: string): string =>
  lines.map((line) => new RegExp(`^${key} +(\\w+://\\S+)$`).exec(line)?.[1]).find((url) => url !== undefined) ?? "";

const noEngine = async () => ({ env: {}, stop: async () => {} });
const ownEngine = async () => {
  const engine = await startTestEngine();
  return { env: { DOCKER_HOST: `unix://${engine.socket}` }, stop: engine.stop };
};

const readmeHolds = (backend: string, prepare: typeof ownEngine | typeof noEngine): void => {
  let clone: string;
  let surroundings: Awaited<ReturnType<typeof prepare>>;
  let platform: ChildProcess | undefined;
  let lines: readonly string[];

  before(async () => {
    surroundings = await prepare();
    clone = mkdtempSync(join(tmpdir(), "busker-clone-"));
    makeClone(clone);
    const [up = ""] = blocks("sh up");
    // npm must never touch the packages behind the link.
    const npm = { npm_config_dry_run: "true" };
    const free = {
      BUSKER_BACKEND: backend,
      BUSKER_PORT: "0",
      BUSKER_METRICS_PORT: "0",
      BUSKER_QUEUE_METRICS_PORT: "0",
      BUSKER_SCALER_METRICS_PORT: "0",
      BUSKER_NATS_PORT: "0",
    };
    const { BUSKER_DATA: _own, ...env } = process.env;
    platform = spawn("bash", ["-c", `exec ${up}`], {
      cwd: clone,
      env: { ...env, ...surroundings.env, ...free, ...npm, CI: "true" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    lines = await readUntilReady(platform);
  });

  after(async () => {
    if (platform?.exitCode === null) {
      const exited = once(platform, "exit");
      platform.kill("SIGINT");
      await exited;
    }
    rmSync(clone, { recursive: true, force: true });
    await surroundings?.stop();
  });

  // The README has the ports that everybody has; a test takes free ones.
  const run = (block: string): string => {
    const gateway = addressIn(lines, "gateway");
    const text = block
      .replaceAll("http://127.0.0.1:8080", gateway)
      .replaceAll("nats://127.0.0.1:4222", addressIn(lines, "NATS"));
    const { BUSKER_DATA: _own, ...env } = process.env;
    return execFileSync("bash", ["-euo", "pipefail", "-c", text], {
      cwd: clone,
      env: { ...env, BUSKER_URL: gateway },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
    }).toString();
  };

  it("its first command starts the platform and calls the first function", () => {
    expect(lines).to.include("2 lines, 6 words, 35 bytes");
  });

  it("its examples run as they stand, one after the other, and give what they promise", () => {
    const [
      first = "",
      overNats = "",
      byClient = "",
      samples = "",
      life = "",
      chain = "",
      ticker = "",
      secrets = "",
      sleeper = "",
      ...rest
    ] = blocks("sh").map(run);
    expect(rest).to.deep.equal([]);
    expect(sleeper).to.match(/(here since \S+\n)[^]*replica: +sleeper-\w+ (draining|frozen) since [^]*\1$/);
    expect(first).to.match(/^\d+ lines, \d+ words, \d+ bytes\n[^]*Hello, you!\n$/);
    expect(overNats).to.equal("Hello, bus!\n\n");
    expect(byClient).to.equal("200 0 lines, 3 words, 13 bytes\n\n");
    expect(samples).to.match(/<h1>Busker<\/h1>[^]*"text":"buy strings"[^]*slept for 0\.5 s\n[^]*sleeping for 0\.5 s/);
    expect(life).to.match(
      /hello +1\/1[^]*3 replicas wished for[^]*0 replicas wished for[^]*Hello, from zero!\n[^]*slow\.openfaas-fn removed\n$/,
    );
    expect(chain).to.match(/shout\.openfaas-fn created[^]*"state":"succeeded"[^]*"body":"ONE TWO"/);
    expect(secrets).to.match(
      /^secret password\.openfaas-fn created\n[^]*\nwelcome\nsecret password\.openfaas-fn updated\nwelcome\nNAME\npassword\n$/,
    );
    // The first reader saw the second event, too, and left before the last.
    expect(ticker).to.match(
      /id: ([0-9a-f]{32})\.1\ndata: tick 1\n\nid: \1\.2\n[^]*\n\nid: \1\.2\ndata: tick 2\n\n[^]*id: \1\.20\ndata: tick 20\n\n$/,
    );
    expect(ticker.match(/tick 20\n/g)).to.have.length(1);
  });
};

describe("README.md", function () {
  this.timeout(180_000);
  describe("with functions as processes", () => readmeHolds("process", noEngine));
  describe("with functions in containers", () => readmeHolds("docker", ownEngine));

  it("names a file for every link, because a dead link costs trust", () => {
    const links = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g)];
    const missing = links.flatMap(([, path]) => (path !== undefined && existsSync(join(root, path)) ? [] : [path]));
    expect(missing).to.deep.equal([]);
  });
});
