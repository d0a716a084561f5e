import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { type ContainerReplica, type ContainerReplicas, openContainerReplicas } from "./support/container-replicas.ts";
import { startTestEngine, type TestEngine } from "./support/engine.ts";
import { busyboxFiles, makeImage } from "./support/images.ts";
import { startTestNats, type TestNats } from "./support/nats.ts";
import { eventually } from "./support/platform.ts";

const folder = "/var/openfaas/secrets";
const hash = "sha256sum";

/** Answers with digests, so that no value comes back by our own asking. */
const digests = `#!/bin/sh
cd "$secret_mount_path" || exit 1
for name in *; do echo "$name $(${hash} <"$name" | head -c 64) $(stat -c '%a %u' "$name")"; done
ls -A | wc -l
`;

describe("secrets of functions in containers", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let nats: TestNats;
  let admin: Bus;
  let replicas: ContainerReplicas;
  const wire: string[] = [];
  const values: string[] = [];

  /** A value that is like no other, kept to be looked for. */
  const makeValue = (): string => {
    const value = randomBytes(24).toString("hex");
    values.push(value);
    return value;
  };
  const digestOf = async (value: Buffer | string): Promise<string> => {
    const bytes = await crypto.subtle.digest("SHA-256", Buffer.from(value));
    return Buffer.from(bytes).toString("hex");
  };

  before(async () => {
    [engine, nats] = await Promise.all([startTestEngine(), startTestNats()]);
    const files = {
      ...busyboxFiles,
      ...Object.fromEntries([hash, "stat", "grep", "tail"].map((name) => [`bin/${name}`, { link: "busybox" }])),
      digests: { text: digests },
    };
    await makeImage(engine.docker, { name: "root", files, changes: ["CMD /digests"] });
    await makeImage(engine.docker, { name: "user", files, changes: ["USER 1234:1235", "CMD /digests"] });
    await makeImage(engine.docker, {
      name: "handler",
      files: {
        "handler.mjs": {
          text: `import { readFileSync } from "node:fs";
export default () => readFileSync(process.env.secret_mount_path + "/token", "utf8").length + " " + process.env.secret_mount_path;`,
        },
      },
      changes: ["ENV mode=handler handler=/handler.mjs"],
    });
    replicas = await openContainerReplicas(engine, nats);
    admin = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "spy" });
    admin.nc.subscribe(">", {
      callback: (_, { subject, data, headers }) => {
        wire.push(`${subject} ${Buffer.from(data).toString("latin1")} ${JSON.stringify([...(headers ?? [])])}`);
      },
    });
    await admin.nc.flush();
  });
  after(async () => {
    await admin?.close();
    await replicas?.close();
    await engine?.stop();
    await nats?.stop();
  });

  const line = async (name: string, value: Buffer | string, uid: number): Promise<string> =>
    `${name} ${await digestOf(value)} 400 ${uid}`;
  const readAll = async (replica: ContainerReplica): Promise<readonly string[]> => {
    const { status, body } = await replica.call();
    expect(status, body).to.equal(200);
    return body.trim().split("\n");
  };

  const users: readonly (readonly [string, number])[] = [
    ["root", 0],
    ["user", 1234],
  ];
  for (const [image, uid] of users)
    it(`are files of the function's user alone, with a read-only root, in the image ${image}`, async () => {
      const [token, certificate] = [makeValue(), makeValue()];
      replicas.setSecret("token", token);
      replicas.setSecret("tls.crt", certificate);
      const replica = await replicas.start({
        image: `${image}:1`,
        secrets: ["token", "tls.crt"],
        host: { ReadonlyRootfs: true },
      });
      expect(await readAll(replica)).to.deep.equal([
        await line("tls.crt", certificate, uid),
        await line("token", token, uid),
        "2",
      ]);
    });

  it("are in memory, where nothing is executed", async () => {
    replicas.setSecret("token", makeValue());
    const replica = await replicas.start({ image: "user:1", secrets: ["token"], envProcess: "cat /proc/mounts" });
    const [mount = ""] = (await readAll(replica)).filter((each) => each.includes(folder));
    expect(mount).to.match(/^tmpfs \S+ tmpfs rw,nosuid,nodev,noexec/);
  });

  it("are there for a handler, by the folder in its environment, over what the function says itself", async () => {
    replicas.setSecret("token", makeValue());
    const envVars = { secret_mount_path: "/elsewhere" };
    const replica = await replicas.start({ image: "handler:1", secrets: ["token"], envVars });
    expect((await replica.call()).body).to.equal(`48 ${folder}`);
  });

  it("take a new value while the function runs, and the replicas of other functions do not", async () => {
    replicas.setSecret("token", makeValue());
    replicas.setSecret("other", makeValue());
    const one = await replicas.start({ image: "user:1", secrets: ["token"] });
    const two = await replicas.start({ image: "root:1", secrets: ["other"] });
    const [before] = await readAll(two);
    await readAll(one);
    const renewed = makeValue();
    replicas.setSecret("token", renewed);
    const expected = [await line("token", renewed, 1234), "1"];
    await eventually("the new value is there", async () =>
      JSON.stringify(await readAll(one)) === JSON.stringify(expected) ? true : undefined,
    );
    expect(await readAll(two)).to.deep.equal([before, "1"]);
  });

  it("reach a replica that was not connected when they were renewed, once it is ready again", async () => {
    replicas.setSecret("token", makeValue());
    const replica = await replicas.start({ image: "root:1", secrets: ["token"] });
    await readAll(replica);
    await replica.container.pause();
    await nats.restart();
    const renewed = makeValue();
    replicas.setSecret("token", renewed);
    await replica.container.unpause();
    const expected = await line("token", renewed, 0);
    await eventually("it serves again", async () => ((await replica.call("", 2000)).status === 200 ? true : undefined));
    await eventually("the new value is there", async () =>
      (await readAll(replica))[0] === expected ? true : undefined,
    );
  });

  it("may be as large as secrets are, and become so, all of them", async () => {
    const large = randomBytes(1024 * 1024);
    replicas.setSecret("token", makeValue());
    replicas.setSecret("other", large);
    const replica = await replicas.start({ image: "user:1", secrets: ["token", "other"] });
    const first = await line("other", large, 1234);
    expect((await readAll(replica))[0]).to.equal(first);
    const larger = randomBytes(1024 * 1024);
    replicas.setSecret("token", larger);
    const expected = await line("token", larger, 1234);
    await eventually("the new value is there", async () =>
      (await readAll(replica))[1] === expected ? true : undefined,
    );
  });

  it("that cannot be written end the replica with the reason, which holds no value", async () => {
    const value = makeValue();
    replicas.setSecret("token", value);
    const replica = await replicas.start({
      image: "user:1",
      secrets: ["token"],
      container: { User: "1234:1235" },
      noSecretMount: true,
    });
    expect(((await replica.container.wait()) as { StatusCode: number }).StatusCode).to.equal(1);
    const logs = await replica.logs();
    expect(logs).to.include(`could not write secret token to ${folder}: ENOENT`).and.to.not.include(value);
  });

  it("are in no environment, command line, file, log, message or word of the engine", async () => {
    const value = makeValue();
    replicas.setSecret("token", value);
    const kinds = [
      { image: "user:1", secrets: ["token"] },
      { image: "handler:1", secrets: ["token"] },
    ];
    const started = await Promise.all(kinds.map((options) => replicas.start(options)));
    for (const replica of started) await replica.call();
    replicas.setSecret("token", makeValue());
    for (const replica of started) await replica.call();
    const told = [...wire, ...readProcesses()];
    for (const replica of started) told.push(JSON.stringify(await replica.container.inspect()), await replica.logs());
    expect(wire.some((message) => message.includes('"kind":"secret"'))).to.equal(true);
    const forms = values.flatMap((each) => [each, Buffer.from(each).toString("base64")]);
    for (const form of forms) expect(told.filter((text) => text.includes(form))).to.deep.equal([]);
    const places = [join(engine.socket, "../data"), nats.dataFolder];
    expect(await findInFiles([started[0]?.id ?? ""], places), "it finds what is there").to.not.equal("");
    expect(await findInFiles(forms, places)).to.equal("");
  });
});

/** Files below these folders with any of these texts; fails when grep does. */
const findInFiles = async (texts: readonly string[], places: readonly string[]): Promise<string> => {
  try {
    const words = texts.flatMap((text) => ["-e", text]);
    return (await promisify(execFile)("grep", ["-rlaF", ...words, ...places])).stdout;
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    if (code !== 1) throw error;
    return stdout;
  }
};

/** Environment and command line of every process of this machine, but this one. */
const readProcesses = (): readonly string[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .flatMap((pid) =>
      ["environ", "cmdline"].map((file) => {
        try {
          return readFileSync(`/proc/${pid}/${file}`, "latin1");
        } catch {
          // It has ended meanwhile.
          return "";
        }
      }),
    );
