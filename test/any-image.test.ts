import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { type ContainerReplica, type ContainerReplicas, openContainerReplicas } from "./support/container-replicas.ts";
import { startTestEngine, type TestEngine } from "./support/engine.ts";
import { busyboxFiles, compileWithMusl, makeImage, muslFiles, type TestImage } from "./support/images.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";
import { eventually } from "./support/platform.ts";

/*
 * The watchdog in any image (design §5): on a real engine, over a real bus, in images that know nothing of it.
 */

const sources = join(import.meta.dirname, "fixtures/any-image");

/** Lines of an answer that begin so, without that beginning. */
const linesOf = (body: string, beginning: string): string[] =>
  body
    .split("\n")
    .filter((line) => line.startsWith(beginning))
    .map((line) => line.slice(beginning.length));

/** A file of a process; empty when the process has gone. */
const readProcess = (path: string): string => {
  try {
    return readFileSync(`/proc/${path}`, "utf8").trim();
  } catch {
    return "";
  }
};

/** Names of all processes below one, zombies included: the engine's own list leaves those out. */
const namesBelow = (pid: number): readonly string[] =>
  readProcess(`${pid}/task/${pid}/children`)
    .split(" ")
    .filter(Boolean)
    .flatMap((child) => [readProcess(`${child}/comm`), ...namesBelow(Number(child))]);

describe("a function of any image", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let nats: TestNats;
  let replicas: ContainerReplicas;
  let programs: string;

  const program = (kind: "static" | "dynamic", name = "program") => ({ from: join(programs, `${name}-${kind}`) });

  const images = (): readonly TestImage[] => [
    { name: "shell", files: busyboxFiles, changes: ["CMD cat"] },
    {
      name: "bare",
      files: { spy: program("static") },
      changes: ['ENTRYPOINT ["/spy", "report"]', 'CMD ["a b", "$HOME"]'],
    },
    {
      name: "musl",
      files: { ...muslFiles, ...busyboxFiles, "app/program": program("dynamic") },
      changes: [
        "WORKDIR /app",
        'ENTRYPOINT ["./program"]',
        'CMD ["report"]',
        'ENV GREETING="good day" LD_PRELOAD=/nothing.so',
      ],
    },
    {
      name: "user",
      files: {
        ...busyboxFiles,
        program: program("static"),
        "etc/passwd": { text: "app:x:1234:1235::/home/app:/bin/sh\n" },
      },
      changes: ["USER app", 'CMD ["/program", "spy"]'],
    },
    { name: "no-command", files: busyboxFiles },
    {
      name: "entry-shell-form",
      files: busyboxFiles,
      changes: ["ENTRYPOINT echo $((6 * 7)) $GREETING", "ENV GREETING=hello"],
    },
    {
      name: "handler",
      files: {
        "app/handler.mjs": { from: join(sources, "handler.mjs") },
        "app/child.mjs": { from: join(sources, "child.mjs") },
      },
      changes: ["WORKDIR /app", "ENV mode=handler NODE_OPTIONS=--no-such-flag"],
    },
    {
      name: "fwatchdog",
      files: { "usr/bin/fwatchdog": program("static", "fwatchdog") },
      changes: ['ENV fprocess="python index.py" mode=http', 'CMD ["fwatchdog"]'],
    },
  ];

  before(async function () {
    this.timeout(120_000);
    programs = await mkdtemp(join(tmpdir(), "busker-programs-"));
    const compile = (name: string, kind: "static" | "dynamic"): Promise<void> =>
      compileWithMusl(join(sources, `${name}.c`), join(programs, `${name}-${kind}`), kind);
    const [started, bus] = await Promise.all([
      startTestEngine(),
      startTestNats(),
      compile("program", "static"),
      compile("program", "dynamic"),
      compile("fwatchdog", "static"),
    ]);
    engine = started;
    nats = bus;
    await Promise.all(images().map((image) => makeImage(engine.docker, image)));
    replicas = await openContainerReplicas(engine, nats);
  });

  after(async function () {
    this.timeout(60_000);
    await replicas?.close();
    await engine?.stop();
    await nats?.stop();
    await rm(programs, { recursive: true, force: true });
  });

  const start = (image: string, options: Partial<Parameters<ContainerReplicas["start"]>[0]> = {}) =>
    replicas.start({ image: `${image}:1`, ...options });

  const report = async (replica: ContainerReplica): Promise<string> => {
    const { status, body } = await replica.call();
    expect(status, body).to.equal(200);
    return body;
  };

  it("runs in an image with a shell and no C library, by the image's own command in shell form", async () => {
    const replica = await start("shell");
    expect(await replica.call("hello")).to.deep.equal({ status: 200, body: "hello" });
  });

  it("runs in an image from scratch with one static program, as the words of ENTRYPOINT and CMD, without a shell", async () => {
    const body = await report(await start("bare"));
    expect(linesOf(body, "word=")).to.deep.equal(["/spy", "report", "a b", "$HOME"]);
    expect(linesOf(body, "cwd=")).to.deep.equal(["/"]);
  });

  it("runs in an image with another C library, in its WORKDIR and with its ENV", async () => {
    const body = await report(await start("musl", { envVars: { OWN: "x=y", GREETING: "good night" } }));
    expect(linesOf(body, "cwd=")).to.deep.equal(["/app"]);
    expect(linesOf(body, "env ")).to.include.members(["GREETING=good night", "OWN=x=y", "LD_PRELOAD=/nothing.so"]);
  });

  it("runs an ENTRYPOINT in shell form, whose shell expands it", async () => {
    expect(await report(await start("entry-shell-form"))).to.equal("42 hello\n");
  });

  it("gives the function the image's environment and its own, and nothing of the host, the bus or the watchdog", async () => {
    const body = await report(await start("bare", { envVars: { OWN: "1" } }));
    const names = linesOf(body, "env ").map((line) => line.slice(0, line.indexOf("=")));
    const own = ["HOME", "HOSTNAME", "OPENFAAS_NAME", "OPENFAAS_NAMESPACE", "OWN", "PATH"];
    expect(names.filter((name) => !name.startsWith("Http_")).sort()).to.deep.equal(own);
    for (const text of ["NATS", "SEED", "nats://", nats.dataFolder]) expect(body).to.not.include(text);
  });

  it("runs as the image's own USER, with that user's home", async () => {
    const body = await report(await start("user", { envProcess: "/program report" }));
    expect([linesOf(body, "uid="), linesOf(body, "gid=")]).to.deep.equal([["1234"], ["1235"]]);
    expect(linesOf(body, "env ")).to.include("HOME=/home/app");
  });

  it("runs with a read-only root and a writable /tmp", async () => {
    const host = { ReadonlyRootfs: true, Tmpfs: { "/tmp": "mode=1777" } };
    const body = await report(await start("bare", { host }));
    expect([linesOf(body, "write /="), linesOf(body, "write /tmp=")]).to.deep.equal([["-1"], ["0"]]);
    const shell = await start("shell", { host: { ReadonlyRootfs: true } });
    expect(await shell.call("no /tmp at all")).to.deep.equal({ status: 200, body: "no /tmp at all" });
  });

  it("runs fprocess instead of the image's command", async () => {
    const replica = await start("bare", { envProcess: "/spy echo" });
    expect(await replica.call("overridden")).to.deep.equal({ status: 200, body: "overridden" });
  });

  it("runs a handler in an image that has nothing else, in the function's environment, and what it forks", async () => {
    const { body } = await (await start("handler", { envVars: { OWN: "1" } })).call("hello");
    expect(JSON.parse(body)).to.deep.equal({ own: "1", names: "NODE_OPTIONS", child: "hello from a child" });
  });

  it("says that an image without ENTRYPOINT and CMD has no command, where the provider reads it", async () => {
    const replica = await start("no-command");
    expect(((await replica.container.wait()) as { StatusCode: number }).StatusCode).to.equal(1);
    expect(await replica.logs()).to.include("the image has neither ENTRYPOINT nor CMD");
  });

  it("says what is not there when the command is not, as the replica's end on the bus", async () => {
    const replica = await start("bare", { envProcess: "nowhere" });
    expect(await replica.reason()).to.match(/cannot start the function's command "nowhere": not found in \/usr/);
    expect(((await replica.container.wait()) as { StatusCode: number }).StatusCode).to.equal(1);
  });

  describe("the replica's credentials", () => {
    const secrets = ({ credentials }: ContainerReplica): readonly string[] =>
      credentials.split("\n").filter((line) => line.length > 40);

    const kinds: readonly (readonly [string, string, Parameters<typeof start>[1]])[] = [
      ["a non-root user", "user", { envProcess: "/program spy" }],
      ["root without capabilities", "bare", { envProcess: "/spy spy" }],
    ];
    for (const [who, image, options] of kinds)
      it(`cannot be read by a function that runs as ${who}: neither memory, environment nor files of the watchdog`, async () => {
        const replica = await start(image, options);
        const body = await report(replica);
        const [watchdog = ""] = body
          .split("\n")
          .filter((line) => line.includes("/.busker/watchdog.mjs") && line.includes("/.busker/loader"));
        expect(watchdog, body).to.match(/^\d+ cmdline: /);
        const pids = linesOf(body, "")
          .filter((line) => / cmdline: \/\.busker\/loader /.test(line))
          .map((line) => line.split(" ")[0]);
        expect(pids.length).to.equal(1);
        for (const name of ["environ", "maps", "mem", "fd"])
          expect(linesOf(body, `${pids[0]} ${name}: `)[0], name).to.match(
            /^(Permission denied|Operation not permitted)$/,
          );
        for (const secret of secrets(replica)) expect(body).to.not.include(secret);
      });

    it("are in no environment, command line or file that the engine knows", async () => {
      const replica = await start("shell");
      await replica.call();
      const told = JSON.stringify(await replica.container.inspect());
      const found = await promisify(execFile)("grep", [
        "-rlF",
        secrets(replica)[1] ?? "",
        join(engine.socket, "..", "data"),
      ]).catch(({ code }: { code: number }) => ({ stdout: `code ${code}` }));
      for (const secret of secrets(replica)) expect(told).to.not.include(secret);
      expect(found.stdout, "grep finds nothing").to.equal("code 1");
    });

    it("end the replica with the reason when they have run out and nobody has renewed them, because no order reaches it any more", async () => {
      const replica = await start("shell", { ttlMs: 2000 });
      expect((await replica.call("before")).body).to.equal("before");
      expect(((await replica.container.wait()) as { StatusCode: number }).StatusCode).to.equal(1);
      expect(await replica.logs()).to.match(/its credentials ran out and were not renewed\n$/);
    });

    it("do not end the replica while the server is away, though they have run out, but when it is back and refuses them", async () => {
      const replica = await start("shell", { ttlMs: 3000 });
      expect((await replica.call("before")).body).to.equal("before");
      await nats.kill();
      const ended = replica.container.wait().then(() => "ended");
      const outlived = new Promise((resolve) => setTimeout(resolve, 4500, "outlived them"));
      expect(await Promise.race([ended, outlived])).to.equal("outlived them");
      await nats.restart();
      expect(await ended).to.equal("ended");
      expect(await replica.logs()).to.match(/its credentials ran out and were not renewed\n$/);
    });

    it("are renewed over the bus, and the replica goes on when the first have run out", async () => {
      const replica = await start("shell", { ttlMs: 4000 });
      expect((await replica.call("before")).body).to.equal("before");
      await replica.renew(3_600_000);
      const overMs = Date.now() + 5500;
      while (Date.now() < overMs) expect(await replica.call("after")).to.deep.equal({ status: 200, body: "after" });
    });
  });

  describe("an image that has an OpenFaaS watchdog", () => {
    it("runs unmodified as an http function on port 8080, called once its health says so, and not before", async () => {
      const replica = await start("fwatchdog");
      const { status, body } = await replica.call("hello");
      expect(status, body).to.equal(201);
      expect(body).to.equal("POST / HTTP/1.1\ncalls=1\nfprocess=python index.py\nbody=hello\n");
    });

    it("gets its fprocess from the function, as in OpenFaaS", async () => {
      const { body } = await (await start("fwatchdog", { envProcess: "node index.js" })).call();
      expect(linesOf(body, "fprocess=")).to.deep.equal(["node index.js"]);
    });
  });

  describe("its end", () => {
    const stopped = async (replica: ContainerReplica): Promise<number> => {
      const beganMs = performance.now();
      await replica.container.stop({ t: 20 });
      return performance.now() - beganMs;
    };

    for (const image of ["shell", "fwatchdog"])
      it(`comes at once at SIGTERM when nothing runs, in the image ${image}`, async () => {
        const replica = await start(image);
        await replica.call();
        expect(await stopped(replica)).to.be.below(15_000);
        const { State } = await replica.container.inspect();
        expect(State.ExitCode).to.equal(0);
      });

    it("waits for the call in flight, which is answered", async () => {
      const replica = await start("bare", { envProcess: "/spy slow" });
      expect((await replica.call("0")).body).to.equal("done\n");
      const answer = replica.call("1");
      await eventually("the call runs", async () => {
        const { Processes } = (await replica.container.top()) as { Processes: string[][] };
        return Processes.some((fields) => fields.join(" ").includes("/spy slow")) || undefined;
      });
      await stopped(replica);
      expect(await answer).to.deep.equal({ status: 200, body: "done\n" });
    });
  });

  it("leaves no zombie of what functions leave behind, because a container's process table is small", async () => {
    const replica = await start("bare", { envProcess: "/spy orphan" });
    for (let count = 0; count < 5; count++) expect((await replica.call()).body).to.equal("left\n");
    const { State } = await replica.container.inspect();
    await eventually("nothing of them is left, not even as a zombie", () =>
      namesBelow(State.Pid).includes("spy") ? undefined : true,
    );
  });
});
