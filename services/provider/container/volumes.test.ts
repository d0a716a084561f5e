import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { expect } from "chai";
import { startTestEngine, type TestEngine } from "../../../test/support/engine.ts";
import { eventually } from "../../../test/support/platform.ts";
import type { BundleCache } from "../bundle-cache.ts";
import { packArchive } from "./archive.ts";
import { fillsLabel, fillVolume, ensureHelperImage, type VolumeContent } from "./fill-volume.ts";
import { hashFile } from "./hash-file.ts";
import { platformLabel } from "./platform-id.ts";
import { openVolumes, type Volumes } from "./volumes.ts";
import { makeWatchdogFolder } from "./watchdog-folder.ts";

const digest = (character: string): string => character.repeat(64);
const wholeTime = "2009-02-13T23:31:30.000Z";

describe("volumes", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let root: string;
  let inCache: Set<string>;
  let fetches: string[];

  const dataOf = (name: string): string => join(engine.socket, "../data/volumes", name, "_data");
  const timeOf = (name: string): string => statSync(dataOf(name)).mtime.toISOString();
  const listContainers = async (): Promise<readonly string[]> =>
    (await engine.docker.listContainers({ all: true })).flatMap(({ Names }) => Names);
  const listVolumes = async (): Promise<readonly string[]> =>
    (await engine.docker.listVolumes()).Volumes.map(({ Name }) => Name).sort();

  /** A cache whose bundles are folders of this test. */
  const bundles = (): BundleCache => ({
    find: (wanted) => (inCache.has(wanted) ? join(root, wanted) : undefined),
    hold: () => () => {},
    fetch: async (wanted) => {
      fetches.push(wanted);
      inCache.add(wanted);
      mkdirSync(join(root, wanted, "sub"), { recursive: true });
      writeFileSync(join(root, wanted, "sub/code.mjs"), wanted, { mode: 0o444 });
      return join(root, wanted);
    },
    collect: async (inUse) => {
      for (const each of inCache) if (!inUse.has(each)) inCache.delete(each);
    },
  });
  const open = (platform = "p1", docker = engine.docker): Volumes =>
    openVolumes({
      docker,
      platform,
      watchdogFolder: () => makeWatchdogFolder(join(root, "watchdog"), join(root, "watchdog.mjs")),
      bundles: bundles(),
    });
  /** Another program that holds a volume's lock. */
  const holdLock = async (volume: string, platform: string): Promise<Docker.Container> =>
    engine.docker.createContainer({
      name: `busker-fill-${volume}`,
      Image: await ensureHelperImage(engine.docker),
      Cmd: ["-"],
      Labels: { [platformLabel]: platform, [fillsLabel]: volume },
      HostConfig: { Binds: [`${volume}:/volume`] },
    });

  before(async () => {
    engine = await startTestEngine();
  });
  after(() => engine?.stop());
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "busker-volumes-"));
    writeFileSync(join(root, "watchdog.mjs"), `console.log(${Math.random()})`);
    inCache = new Set();
    fetches = [];
  });
  afterEach(async () => {
    for (const { Id } of await engine.docker.listContainers({ all: true }))
      await engine.docker.getContainer(Id).remove({ force: true });
    for (const name of await listVolumes()) await engine.docker.getVolume(name).remove();
    await rm(root, { recursive: true, force: true });
  });

  describe("ensureWatchdogVolume()", () => {
    it("makes a volume named by its content, with the folder's files and modes, of root's", async () => {
      const { name, folder } = await open().ensureWatchdogVolume();
      expect(name).to.equal(`busker-watchdog-${folder.version}-${process.arch}`);
      const list = (path: string): string =>
        execFileSync("find", [path, "-printf", "%P %m %U %G %s %l\n"]).toString().split("\n").sort().join("\n");
      const withoutFolderSizes = (text: string): string => text.replace(/^(|lib) 555 0 0 \d+/gm, "$1 555");
      expect(withoutFolderSizes(list(dataOf(name)))).to.equal(withoutFolderSizes(list(folder.path)));
      expect(statSync(join(dataOf(name), "loader")).mode & 0o777).to.equal(0o111);
      for (const file of ["loader", "node", "watchdog.mjs", "manifest.json", "lib/libc.so.6"])
        expect(await hashFile(join(dataOf(name), file)), file).to.equal(await hashFile(join(folder.path, file)));
      expect(await listContainers()).to.deep.equal([]);
    });

    it("leaves one that is whole as it is, whoever asks", async () => {
      const { name } = await open().ensureWatchdogVolume();
      const before = statSync(join(dataOf(name), "node")).ino;
      await open("p2").ensureWatchdogVolume();
      expect(statSync(join(dataOf(name), "node")).ino).to.equal(before);
    });

    it("is made once when several ask at once, and providers of two data folders too", async () => {
      const [one, two] = [open(), open("p2")];
      const made = await Promise.all([one, one, two, two, one].map((volumes) => volumes.ensureWatchdogVolume()));
      expect(new Set(made.map(({ name }) => name)).size).to.equal(1);
      expect(await listVolumes()).to.deep.equal([made[0]?.name]);
      expect(timeOf(made[0]?.name ?? "")).to.equal(wholeTime);
      expect(await listContainers()).to.deep.equal([]);
    });

    it("makes it anew when somebody has removed it, also where the engine has made an empty one since", async () => {
      const volumes = open();
      const { name } = await volumes.ensureWatchdogVolume();
      await engine.docker.getVolume(name).remove();
      await engine.docker.createVolume({ Name: name });
      await volumes.ensureWatchdogVolume();
      expect(timeOf(name)).to.equal(wholeTime);
      expect(existsSync(join(dataOf(name), "loader"))).to.equal(true);
    });
  });

  describe("ensureBundleVolume()", () => {
    it("makes a bundle's volume, with its labels and nothing but its files", async () => {
      const { name } = await open().ensureBundleVolume(digest("a"));
      expect(name).to.equal(`busker-bundle-${"a".repeat(16)}-p1`);
      expect(readFileSync(join(dataOf(name), "sub/code.mjs"), "utf8")).to.equal(digest("a"));
      expect(readdirSync(dataOf(name))).to.deep.equal(["sub"]);
      const { Labels } = await engine.docker.getVolume(name).inspect();
      expect(Labels).to.deep.equal({
        "com.busker.platform": "p1",
        "com.busker.volume": "bundle",
        "com.busker.bundle": digest("a"),
      });
    });

    it("asks the engine once for one that it knows to be whole", async () => {
      const volumes = open();
      await volumes.ensureBundleVolume(digest("a"));
      let created = 0;
      const { createContainer } = engine.docker;
      engine.docker.createContainer = ((...args: Parameters<typeof createContainer>) => {
        created += 1;
        return createContainer.apply(engine.docker, args);
      }) as typeof createContainer;
      await volumes.ensureBundleVolume(digest("a"));
      engine.docker.createContainer = createContainer;
      expect(created).to.equal(0);
    });

    it("says why, with the engine's own reason, and leaves no container, when the image of its helper is not there", async () => {
      const volumes = openVolumes({
        docker: engine.docker,
        platform: "p1",
        watchdogFolder: () => Promise.reject(new Error("not asked for")),
        bundles: bundles(),
        helperImage: async () => "nowhere:1",
      });
      const failure = await volumes.ensureBundleVolume(digest("a")).catch((error: Error) => error);
      expect(failure).to.be.instanceOf(Error).with.property("code", "start_failed");
      expect((failure as Error).message).to.match(
        /^could not make the volume busker-bundle-a+-p1: No such image: nowhere:1/,
      );
      expect(await listContainers()).to.deep.equal([]);
    });
  });

  describe("a filling that is cut short", () => {
    const name = "busker-test-volume";
    const content = (text = "whole"): VolumeContent => ({
      name,
      labels: { [platformLabel]: "p1" },
      parts: async () => [
        { kind: "text", name: "first", mode: 0o444, text },
        { kind: "text", name: "second", mode: 0o444, text },
      ],
    });
    const filler = (more: { readonly platform?: string; readonly patienceMs?: number } = {}) => ({
      docker: engine.docker,
      platform: "p1",
      helperImage: () => ensureHelperImage(engine.docker),
      openedMs: performance.now(),
      ...more,
    });
    const readAll = (): readonly string[] =>
      readdirSync(dataOf(name)).map((file) => `${file}=${readFileSync(join(dataOf(name), file), "utf8")}`);

    /** What a killed provider leaves: the lock, and a part of the content. */
    const leaveHalf = async (platform: string): Promise<void> => {
      const holder = await holdLock(name, platform);
      await holder.putArchive(packArchive([{ kind: "text", name: "volume/first", mode: 0o444, text: "half" }]), {
        path: "/",
      });
    };

    it("is taken up at once by the next provider of that platform", async () => {
      await leaveHalf("p1");
      const beganMs = performance.now();
      await fillVolume(filler(), content());
      expect(performance.now() - beganMs).to.be.below(20_000);
      expect(readAll()).to.deep.equal(["first=whole", "second=whole"]);
      expect(await listContainers()).to.deep.equal([]);
    });

    it("is taken up by another platform when no filling takes so long", async () => {
      await leaveHalf("other");
      const beganMs = performance.now();
      await fillVolume(filler({ patienceMs: 1500 }), content());
      expect(performance.now() - beganMs).to.be.within(500, 20_000);
      expect(readAll()).to.deep.equal(["first=whole", "second=whole"]);
    });

    it("is waited for while its filler may live, and not written again when that one has made it whole", async () => {
      const holder = await holdLock(name, "other");
      const waiting = fillVolume(filler(), content());
      await holder.putArchive(
        packArchive([
          { kind: "text", name: "volume/first", mode: 0o444, text: "theirs" },
          { kind: "folder", name: "volume", mode: 0o555, modified: new Date(wholeTime) },
        ]),
        { path: "/" },
      );
      await holder.remove({ force: true });
      await waiting;
      expect(readAll()).to.deep.equal(["first=theirs"]);
    });

    it("does not pass for whole when the connection to the engine breaks in the middle, and is made whole by the next", async () => {
      const relay = await openRelay(engine.socket);
      const docker = new Docker({ socketPath: relay.path });
      const broken = fillVolume(
        { ...filler(), docker },
        {
          ...content(),
          parts: async () => {
            relay.breakAfter(1_000_000);
            return [
              { kind: "text", name: "first", mode: 0o444, text: "half" },
              { kind: "file", name: "large", mode: 0o444, source: process.execPath },
            ];
          },
        },
      ).catch((error: Error) => error);
      expect(await broken).to.be.instanceOf(Error);
      await relay.close();
      expect(timeOf(name)).to.not.equal(wholeTime);
      await fillVolume({ ...filler(), openedMs: performance.now() }, content());
      expect(readAll()).to.include.members(["first=whole", "second=whole"]);
      expect(timeOf(name)).to.equal(wholeTime);
    });

    it("fails with the reason when what is to go in cannot be read, and leaves neither container nor a whole volume", async () => {
      const parts = async () => [{ kind: "file", name: "a", mode: 0o444, source: join(root, "nowhere") } as const];
      const failure = await fillVolume(filler(), { ...content(), parts }).catch((error: Error) => error.message);
      expect(failure).to.match(/^could not make the volume busker-test-volume: .*ENOENT/);
      expect(await listContainers()).to.deep.equal([]);
      expect(timeOf(name)).to.not.equal(wholeTime);
    });
  });

  describe("collect()", () => {
    it("removes what is unused, and neither what is in use, in the cache or in a container, nor another platform's", async () => {
      const volumes = open();
      const kept = await volumes.ensureBundleVolume(digest("a"));
      const gone = await volumes.ensureBundleVolume(digest("b"));
      const mounted = await volumes.ensureBundleVolume(digest("c"));
      const foreign = await open("p2").ensureBundleVolume(digest("b"));
      const watchdog = await volumes.ensureWatchdogVolume();
      writeFileSync(join(root, "watchdog.mjs"), "console.log('newer')");
      const newer = open();
      const current = await newer.ensureWatchdogVolume();
      await engine.docker.createVolume({ Name: "somebody-elses" });
      await engine.docker.createContainer({
        Image: await ensureHelperImage(engine.docker),
        Cmd: ["-"],
        HostConfig: { Binds: [`${mounted.name}:/function:ro`] },
      });
      await newer.collect(new Set([digest("a")]));
      const left = await listVolumes();
      expect(left).to.have.members([kept.name, mounted.name, foreign.name, current.name, "somebody-elses"]);
      for (const { name } of [gone, watchdog]) expect(left).to.not.include(name);
    });

    it("keeps the watchdog's volume of a provider that has had no need of it yet", async () => {
      const { name } = await open().ensureWatchdogVolume();
      await open().collect(new Set());
      expect(await listVolumes()).to.deep.equal([name]);
    });
  });

  it("a kill of the provider in mid-filling leaves nothing that passes for whole", async () => {
    const script = join(import.meta.dirname, "fixtures/fill-for-ever.ts");
    const child = spawn(process.execPath, ["--import", "tsx", script, engine.socket, "busker-killed"], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    await eventually("it fills", () => (existsSync(join(dataOf("busker-killed"), "first")) ? true : undefined));
    const left = await listContainers();
    child.kill("SIGKILL");
    expect(left).to.deep.equal(["/busker-fill-busker-killed"]);
    expect(timeOf("busker-killed")).to.not.equal(wholeTime);
    const content: VolumeContent = {
      name: "busker-killed",
      labels: {},
      parts: async () => [{ kind: "text", name: "first", mode: 0o444, text: "whole" }],
    };
    const helperImage = () => ensureHelperImage(engine.docker);
    await fillVolume({ docker: engine.docker, platform: "p1", helperImage, openedMs: performance.now() }, content);
    expect(timeOf("busker-killed")).to.equal(wholeTime);
    expect(await listContainers()).to.deep.equal([]);
  });
});

/** A socket in front of the engine's, whose connections break after so many bytes to the engine. */
const openRelay = async (
  target: string,
): Promise<{ path: string; breakAfter: (bytes: number) => void; close: () => Promise<void> }> => {
  const folder = await mkdtemp(join(tmpdir(), "busker-relay-"));
  const path = join(folder, "relay.sock");
  let left = Number.POSITIVE_INFINITY;
  const server: Server = createServer((near) => {
    const far = connect(target);
    for (const socket of [near, far])
      socket.on("error", () => undefined).on("close", () => [near, far].forEach((each) => each.destroy()));
    near.on("data", (chunk) => {
      left -= chunk.length;
      if (left < 0) return [near, far].forEach((each) => each.destroy());
      return far.write(chunk);
    });
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    path,
    breakAfter: (bytes) => {
      left = bytes;
    },
    close: async () => {
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};
