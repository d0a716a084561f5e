import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { maxPayloadBytes, streams } from "../../schemas/topology.ts";
import { openTrust } from "../bus/trust.ts";
import { type NatsServer, startNatsServer } from "./nats-server.ts";

const conf = fileURLToPath(new URL("../../nats.conf", import.meta.url));
const starter = fileURLToPath(new URL("./fixtures/start-nats.ts", import.meta.url));

const failure = async (work: Promise<NatsServer>): Promise<BuskerError> => {
  const outcome = await work.catch((reason: unknown) => reason);
  expect(outcome).to.be.instanceOf(BuskerError);
  return outcome as BuskerError;
};

const readInfo = async (port: number): Promise<{ max_payload: number; version: string }> => {
  const { connect } = await import("node:net");
  const socket = connect(port, "127.0.0.1");
  const [line] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return JSON.parse(
    line
      .toString()
      .replace(/^INFO /, "")
      .split("\r\n")[0] ?? "",
  ) as { max_payload: number; version: string };
};

/** Another platform on the same folder: a process that starts a server and is killed. */
const startElsewhere = async (dataFolder: string) => {
  const child = spawn(process.execPath, ["--import=tsx", starter, dataFolder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { child, pid: Number(line.toString()) };
};

describe("startNatsServer()", () => {
  let dataFolder: string;
  let server: NatsServer | undefined;
  const start = async (more: Partial<Parameters<typeof startNatsServer>[0]> = {}): Promise<NatsServer> => {
    server = await startNatsServer({ dataFolder, conf, port: 0, environment: process.env, ...more });
    return server;
  };

  beforeEach(async () => {
    // A quote, a space, a dollar and a backslash: whatever a folder may be called.
    dataFolder = await mkdtemp(join(tmpdir(), 'busker "$a b\\n'));
    await openTrust(dataFolder);
  });

  afterEach(async () => {
    await server?.stop();
    server = undefined;
    await rm(dataFolder, { recursive: true, force: true });
  });

  it("serves with the payload limit of the schemas, because the two must be equal", async () => {
    const { port } = await start();
    expect((await readInfo(port)).max_payload).to.equal(maxPayloadBytes);
  });

  it("keeps its store, log and pid file in the data folder, because nothing else is ours", async () => {
    const { pid, logFile } = await start();
    expect(await readFile(join(dataFolder, "nats/nats-server.pid"), "utf8")).to.equal(String(pid));
    expect(await readFile(logFile, "utf8")).to.include(join(dataFolder, "nats"));
    await access(join(dataFolder, "nats/jetstream"));
  });

  it("listens on this machine only, because nobody else was asked in", async () => {
    expect((await start()).url).to.match(/^nats:\/\/127\.0\.0\.1:\d+$/);
  });

  it("starts again after a crash, because the pid file of a dead server means nothing", async () => {
    await (await start()).kill();
    const { pid } = await start();
    expect(process.kill(pid, 0)).to.equal(true);
  });

  it("says that the port is in use in one line, because that is the newcomer's first trouble", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const error = await failure(start({ port }));
    other.close();
    expect(error.code).to.equal("conflict");
    expect(error.message).to.include(`127.0.0.1:${port}`).and.not.include("\n");
  });

  it("says that another nats-server has the port, because a client of ours would be refused by it", async () => {
    const first = await start();
    const second = await mkdtemp(join(tmpdir(), "busker second-"));
    await openTrust(second);
    const error = await failure(
      startNatsServer({ dataFolder: second, conf, port: first.port, environment: process.env }),
    );
    await rm(second, { recursive: true, force: true });
    expect(error.code).to.equal("conflict");
  });

  it("names the program that it cannot find, because it must be installed", async () => {
    const error = await failure(start({ binary: "no-such-nats-server" }));
    expect(error.code).to.equal("not_found");
    expect(error.message).to.include("no-such-nats-server");
  });

  it("shows the end of the log when the server does not come up, because the reason is there", async () => {
    const broken = join(dataFolder, "broken.conf");
    await writeFile(broken, "no_such_key: 1\n");
    const error = await failure(start({ conf: broken }));
    expect(error.code).to.equal("bus_unavailable");
    expect(error.message).to.include("no_such_key");
  });

  it("stops the server that a dead platform has left, because two on one store destroy it", async () => {
    const elsewhere = await startElsewhere(dataFolder);
    elsewhere.child.kill("SIGKILL");
    await once(elsewhere.child, "exit");
    expect(process.kill(elsewhere.pid, 0), "it outlives its platform").to.equal(true);
    await start();
    const cmdline = await readFile(`/proc/${elsewhere.pid}/cmdline`, "utf8").catch(() => "");
    expect(cmdline).to.equal("");
  });

  it("leaves the server of a living platform alone, because somebody uses it", async () => {
    const elsewhere = await startElsewhere(dataFolder);
    const error = await failure(start());
    expect(error.code).to.equal("conflict");
    expect(error.message).to.include(String(elsewhere.child.pid));
    expect(process.kill(elsewhere.pid, 0)).to.equal(true);
    elsewhere.child.kill("SIGTERM");
    await once(elsewhere.child, "exit");
  });

  it("leaves a process alone whose number a stale pid file names, because it is somebody else's", async () => {
    const bystander = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    await (await start()).stop();
    await writeFile(join(dataFolder, "nats/nats-server.pid"), String(bystander.pid));
    await start();
    expect(bystander.exitCode).to.equal(null);
    expect(bystander.signalCode).to.equal(null);
    bystander.kill("SIGKILL");
    await once(bystander, "exit");
  });

  it("tells when the server has gone, because the platform must know", async () => {
    const { pid, exited } = await start();
    process.kill(pid, "SIGKILL");
    expect(await exited).to.deep.equal({ code: null, signal: "SIGKILL" });
  });
});

describe("nats.conf", () => {
  it("has room for all streams of the schemas, because the server refuses a stream beyond its ceiling", async () => {
    const text = await readFile(conf, "utf8");
    const gigabytes = Number(/max_file_store: (\d+)GB/.exec(text)?.[1]);
    const wanted = Object.values(streams).reduce(
      (sum, stream) => sum + (stream.storage === "file" ? stream.maxBytes : 0),
      0,
    );
    expect(gigabytes * 2 ** 30).to.be.greaterThan(wanted);
  });
});
