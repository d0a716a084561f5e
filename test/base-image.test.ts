import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect } from "chai";
import { ensureBaseImage, openBaseImage } from "../services/provider/container/base-image.ts";
import { volumeMount } from "../services/provider/container/container-launch.ts";
import { type ContainerReplica, type ContainerReplicas, openContainerReplicas } from "./support/container-replicas.ts";
import { startTestEngine, type TestEngine } from "./support/engine.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";

/*
 * Bundles in containers: a folder of code in a volume, in the image that is made from this machine's own files.
 */

const root = resolve(import.meta.dirname, "..");

describe("a bundle in the base image", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let nats: TestNats;
  let replicas: ContainerReplicas;
  let image: string;
  let folder: string;

  before(async () => {
    [engine, nats] = await Promise.all([startTestEngine(), startTestNats()]);
    replicas = await openContainerReplicas(engine, nats);
    image = await ensureBaseImage(engine.docker);
  });
  after(async () => {
    await replicas?.close();
    await engine?.stop();
    await nats?.stop();
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker-function-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const start = async (
    code: string | Readonly<Record<string, string>>,
    envProcess?: string,
    envVars: Readonly<Record<string, string>> = {},
  ): Promise<ContainerReplica> => {
    if (typeof code !== "string")
      for (const [name, text] of Object.entries(code)) await writeFile(join(folder, name), text, { mode: 0o755 });
    const volume = await replicas.addBundle(typeof code === "string" ? code : folder);
    return replicas.start({
      image,
      envVars,
      ...(envProcess === undefined ? {} : { envProcess }),
      host: { Mounts: [volumeMount(volume, "/function")], ReadonlyRootfs: true, Tmpfs: { "/tmp": "" } },
    });
  };
  const sample = (name: string): string => join(root, "dist/samples", name);
  const answer = async (replica: ContainerReplica, body = ""): Promise<string> => {
    const { status, body: text } = await replica.call(body);
    expect(status, text).to.equal(200);
    return text;
  };

  it("is one image for the same files, and another call makes no second one", async () => {
    const before = await engine.docker.listImages();
    expect(await ensureBaseImage(engine.docker)).to.equal(image);
    expect((await engine.docker.listImages()).length).to.equal(before.length);
    expect(image).to.match(/^busker\/base:[0-9a-f]{16}$/);
  });

  it("is made once when several ask at once, and again when somebody has removed it", async () => {
    const ask = openBaseImage(engine.docker);
    const anonymous = async (): Promise<number> =>
      (await engine.docker.listImages({ filters: { dangling: ["true"] } })).length;
    await engine.docker.getImage(image).remove({ force: true });
    const before = await anonymous();
    expect(new Set(await Promise.all([ask(), ask(), ask()]))).to.deep.equal(new Set([image]));
    expect(await anonymous()).to.equal(before);
    await engine.docker.getImage(image).remove({ force: true });
    await ask();
    expect((await engine.docker.getImage(image).inspect()).Config.User).to.equal("app");
  });

  it("is the image that is wished for, where one is", async () => {
    expect(await ensureBaseImage(engine.docker, "python:3")).to.equal("python:3");
  });

  it("runs the sample wordcount (a shell script, mode streaming)", async () => {
    const replica = await start(sample("wordcount"), "sh wordcount.sh", { content_type: "text/plain" });
    expect(await answer(replica, "one two\nthree\n")).to.equal("2 lines, 3 words, 14 bytes\n");
  });

  it("runs the sample slow, whose script needs tr, sed, head and sleep", async () => {
    const replica = await start(sample("slow"), "sh slow.sh", { content_type: "text/plain" });
    expect(await answer(replica, "0.1")).to.equal("slept for 0.1 s\n");
  });

  it("runs the sample markdown (mode handler)", async () => {
    expect(await answer(await start(sample("markdown"), undefined, { mode: "handler" }), "# A")).to.include(
      "<h1>A</h1>",
    );
  });

  it("runs the sample notes (mode http, by the image's own Node)", async () => {
    const replica = await start(sample("notes"), "node server.mjs", { mode: "http", ready_path: "/healthz" });
    // As the server itself answers at /.
    expect(await replica.call("first")).to.deep.equal({ status: 404, body: '{"error":"try /notes or /echo"}\n' });
  });

  it("says of the sample pystat that its image has no python3, where another image has", async () => {
    const replica = await start(sample("pystat"), "python3 pystat.py", { mode: "serializing" });
    expect(await replica.reason()).to.include(`cannot start the function's command "python3": not found in /usr/local`);
  });

  const modes: readonly (readonly [mode: string, code: Record<string, string>, command: string])[] = [
    ["serializing", { "up.sh": "tr a-z A-Z" }, "sh up.sh"],
    [
      "streaming",
      { "up.mjs": 'process.stdin.on("data", (d) => process.stdout.write(String(d).toUpperCase()));' },
      "node up.mjs",
    ],
    ["pool", { "up.sh": "#!/usr/bin/env sh\nexec tr a-z A-Z" }, "./up.sh"],
  ];
  for (const [mode, code, command] of modes)
    it(`runs mode ${mode}: ${command}`, async () => {
      const replica = await start(code, command, { mode });
      expect(await answer(replica, "hello")).to.equal("HELLO");
      expect(await answer(replica, "again")).to.equal("AGAIN");
    });

  it("runs mode static", async () => {
    const replica = await start({ "index.html": "<p>hi</p>" }, undefined, { mode: "static", static_path: "/function" });
    expect(await answer(replica)).to.equal("<p>hi</p>");
  });

  it("runs as the user app in the bundle's folder, which holds its files only and cannot be written", async () => {
    const script = "id -u; id -un; pwd; echo $HOME; ls -a; touch x 2>&1; touch /tmp/x && echo /tmp; stat -c %a /tmp";
    const lines = (await answer(await start({ "who.sh": script }, "sh who.sh"))).trim().split("\n");
    expect(lines).to.deep.equal([
      "12000",
      "app",
      "/function",
      "/home/app",
      ".",
      "..",
      "who.sh",
      "touch: x: Read-only file system",
      "/tmp",
      "1777",
    ]);
  });

  it("has Node for what a function starts by itself: its names, its certificates, its children", async () => {
    const code = `
      import { execFileSync } from "node:child_process";
      import { lookup } from "node:dns/promises";
      import { readFileSync } from "node:fs";
      import { userInfo } from "node:os";
      const child = execFileSync(process.execPath, ["-p", "6 * 7"]).toString().trim();
      console.log(JSON.stringify({ child, version: process.version, user: userInfo().username,
        local: (await lookup("localhost", { family: 4 })).address,
        certificates: readFileSync("/etc/ssl/certs/ca-certificates.crt", "utf8").length }));`;
    const told: unknown = JSON.parse(await answer(await start({ "a.mjs": code }, "node a.mjs")));
    expect(told).to.deep.equal({
      child: "42",
      version: process.version,
      user: "app",
      local: "127.0.0.1",
      certificates: readFileSync("/etc/ssl/certs/ca-certificates.crt", "utf8").length,
    });
  });
});
