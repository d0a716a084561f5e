import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect } from "chai";
import { type Bus, openBus } from "../services/bus/connection.ts";
import {
  eventually,
  findProcesses,
  startTestPlatform,
  type TestFunction,
  type TestPlatform,
} from "./support/platform.ts";

const namespace = "openfaas-fn";
const path = "/system/secrets";
const tmpfs = 0x01021994;

const digestOf = (value: Buffer | string): string => createHash("sha256").update(value).digest("hex");

// Functions answer with a digest, so that no value comes back by our own asking.
const reading = `
const { readFileSync } = require("node:fs");
const { createHash } = require("node:crypto");
const read = (name) => createHash("sha256").update(readFileSync(process.env.secret_mount_path + "/" + name)).digest("hex");`;
const answering = "JSON.stringify({ digest: read(NAME), folder: process.env.secret_mount_path, pid: process.pid })";

const functions = {
  handler: {
    envVars: { mode: "handler" },
    code: {
      "handler.mjs": `import { createRequire } from "node:module";
const require = createRequire(import.meta.url);${reading}
export default (event) => ${answering.replace("NAME", "event.body")};`,
    },
  },
  http: {
    envVars: { mode: "http", fprocess: "node server.cjs" },
    code: {
      "server.cjs": `${reading}
require("node:http").createServer(async (request, response) => {
  let name = "";
  for await (const chunk of request) name += chunk;
  response.end(request.method === "POST" ? ${answering.replace("NAME", "name")} : "");
}).listen(process.env.PORT, "127.0.0.1");`,
    },
  },
  streaming: {
    envVars: { mode: "streaming", fprocess: "sh read.sh" },
    code: {
      "read.sh": `read -r name
digest=$(sha256sum "$secret_mount_path/$name" | cut -d" " -f1)
printf '{"digest":"%s","folder":"%s"}' "$digest" "$secret_mount_path"`,
    },
  },
} as const;
type FunctionKind = keyof typeof functions;
const kinds = Object.keys(functions) as readonly FunctionKind[];

interface Answer {
  readonly digest: string;
  readonly folder: string;
}

const filesBelow = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [join(entry.parentPath, entry.name)] : [],
  );

const readIfThere = (file: string): string => {
  try {
    return readFileSync(file, "latin1");
  } catch {
    // Processes and replicas come and go meanwhile.
    return "";
  }
};

describe("secrets", function () {
  this.timeout(60_000);
  let platform: TestPlatform;
  let admin: Bus;
  const wire: string[] = [];
  const values: string[] = [];

  const newValue = (): string => {
    const value = `canary-${randomBytes(12).toString("hex")}`;
    values.push(value);
    return value;
  };
  const set = (method: "POST" | "PUT", name: string, value: string): Promise<Response> =>
    platform.api(method, path, { name, value });
  const listNames = async (): Promise<readonly string[]> =>
    ((await (await platform.api("GET", path)).json()) as { name: string }[]).map(({ name }) => name);
  const call = async (name: string, secret: string): Promise<Answer> => {
    const response = await platform.invoke(name, {
      method: "POST",
      body: `${secret}\n`.slice(0, name === "streaming" ? undefined : -1),
    });
    const text = await response.text();
    expect(response.status, text).to.equal(200);
    return JSON.parse(text) as Answer;
  };
  const deploy = async (
    kind: FunctionKind,
    name: string,
    more: NonNullable<TestFunction["more"]>,
  ): Promise<Response> => {
    const { code, envVars } = functions[kind];
    return platform.deploy({ name, code, envVars, more });
  };
  const replicaIds = async (name: string): Promise<readonly string[]> =>
    ((await platform.status(name))["replicaStates"] as { id: string; state: string }[])
      .filter(({ state }) => state === "ready")
      .map(({ id }) => id)
      .toSorted();
  // Of one that was just killed the status may still say that it is ready.
  const untilReady = (name: string, count: number, dead?: string): Promise<readonly string[]> =>
    eventually(`${count} replicas of ${name}`, async () => {
      const ids = await replicaIds(name);
      return ids.length === count && !ids.some((id) => id === dead) ? ids : undefined;
    });
  const untilDigest = (name: string, secret: string, value: string): Promise<Answer> =>
    eventually(`the new value in ${name}`, async () => {
      const answer = await call(name, secret);
      return answer.digest === digestOf(value) ? answer : undefined;
    });
  const pidOf = (replica: string): number =>
    (
      JSON.parse(readFileSync(join(platform.dataFolder, "replicas", replica, "process.json"), "utf8")) as {
        pid: number;
      }
    ).pid;
  const providerStarts = (): number =>
    platform.output().match(/^provider .*"message":"ready"|^provider .*\bready\b/gm)?.length ?? 0;
  const killProvider = (): void => {
    for (const pid of platform.pids("services/provider/main.js")) process.kill(pid, "SIGKILL");
  };

  before(async () => {
    platform = await startTestPlatform();
    const credentialsFile = join(platform.dataFolder, "creds/admin.creds");
    admin = await openBus({ url: platform.natsUrl, credentialsFile, user: "admin", name: "tap" });
    admin.nc.subscribe(">", {
      callback: (_, message) => {
        const headers = (message.headers?.keys() ?? []).map((key) => `${key}: ${message.headers?.values(key).join()}`);
        wire.push(`${message.subject}\n${headers.join("\n")}\n${Buffer.from(message.data).toString("latin1")}`);
      },
    });
    await admin.nc.flush();
  });
  after(async () => {
    await admin?.close();
    await platform?.stop();
  });

  let first: string;
  let folder: string;

  it("are created, listed by name, and not created twice", async () => {
    first = newValue();
    expect((await set("POST", "api-key", first)).status).to.equal(201);
    expect((await set("POST", "tls.crt", newValue())).status).to.equal(201);
    const again = await set("POST", "api-key", newValue());
    expect([again.status, await again.text()]).to.deep.equal([
      409,
      "secret api-key.openfaas-fn exists already; update it\n",
    ]);
    const listed = await platform.api("GET", path);
    expect(await listed.json()).to.deep.equal([
      { name: "api-key", namespace },
      { name: "tls.crt", namespace },
    ]);
    expect(await (await platform.api("GET", `${path}?namespace=other`)).json()).to.deep.equal([]);
  });

  it("need the administrator's password, because their names are nobody's business", async () => {
    expect((await fetch(`${platform.url}${path}`)).status).to.equal(401);
  });

  it("that are not there are neither updated nor removed, nor made in a namespace that is not there", async () => {
    const update = await set("PUT", "nothing", newValue());
    const removal = await platform.api("DELETE", path, { name: "nothing" });
    const elsewhere = await platform.api("POST", path, { name: "a", namespace: "elsewhere", value: newValue() });
    expect([update.status, removal.status, elsewhere.status]).to.deep.equal([404, 404, 400]);
    expect(await removal.text()).to.equal("there is no secret nothing.openfaas-fn\n");
    expect(await elsewhere.text()).to.contain("there is no namespace elsewhere");
  });

  it("that are not there keep a function from being deployed, and the error names them", async () => {
    const response = await deploy("handler", "without", { secrets: ["api-key", "missing"] });
    expect([response.status, await response.text()]).to.deep.equal([
      400,
      'there is no secret "missing" in namespace openfaas-fn; make it first\n',
    ]);
  });

  for (const kind of kinds)
    it(`are files for a function in mode ${kind}, in a folder that the environment names`, async () => {
      const response = await deploy(kind, kind, { secrets: ["tls.crt", "api-key"] });
      expect(response.status, await response.text()).to.equal(202);
      const answer = await call(kind, "api-key");
      expect(answer.digest).to.equal(digestOf(first));
      expect(readdirSync(answer.folder).toSorted()).to.deep.equal(["api-key", "tls.crt"]);
      expect(await platform.status(kind)).to.deep.include({ secrets: ["tls.crt", "api-key"] });
      folder = answer.folder;
    });

  it("are in memory, and for the function's user alone", () => {
    expect(statfsSync(folder).type).to.equal(tmpfs);
    const modes = [folder, dirname(folder), dirname(dirname(folder)), join(folder, "api-key")].map(
      (each) => statSync(each).mode & 0o777,
    );
    expect(modes).to.deep.equal([0o700, 0o700, 0o700, 0o400]);
  });

  it("leave a function without any alone, because a path to nothing helps nobody", async () => {
    const code = { "handler.mjs": "export default () => String(process.env.secret_mount_path);" };
    await platform.deploy({ name: "plain", code, envVars: { mode: "handler" } });
    expect(await (await platform.invoke("plain")).text()).to.equal("undefined");
  });

  it("reach running replicas, without a restart", async () => {
    const before = await Promise.all(kinds.map(replicaIds));
    const value = newValue();
    expect((await set("PUT", "api-key", value)).status).to.equal(202);
    await Promise.all(kinds.map((kind) => untilDigest(kind, "api-key", value)));
    expect(await Promise.all(kinds.map(replicaIds))).to.deep.equal(before);
    first = value;
  });

  it("hold bytes as they are, and values of a megabyte", async () => {
    const bytes = randomBytes(1024 * 1024);
    const response = await platform.api("PUT", path, { name: "tls.crt", rawValue: bytes.toString("base64") });
    expect(response.status, await response.text()).to.equal(202);
    expect((await call("handler", "tls.crt")).digest).to.equal(digestOf(bytes));
    expect((await set("PUT", "tls.crt", newValue())).status).to.equal(202);
  });

  it("that functions use are not removed, and the error names the functions", async () => {
    const response = await platform.api("DELETE", path, { name: "api-key" });
    const text = await response.text();
    expect([response.status, text]).to.satisfy(
      ([status, said]: [number, string]) =>
        status === 409 && kinds.every((kind) => said.includes(`${kind}.${namespace}`)),
    );
    expect(await listNames()).to.deep.equal(["api-key", "tls.crt"]);
  });

  it("are the newest in a replica that starts, and gone with one that is killed", async () => {
    const root = dirname(dirname(folder));
    await platform.api("POST", "/system/scale-function/handler", { replicas: 3 });
    const ids = await untilReady("handler", 3);
    for (const id of ids) expect(digestOf(readFileSync(join(root, id, "secrets/api-key")))).to.equal(digestOf(first));
    const [victim = ""] = ids;
    process.kill(pidOf(victim), "SIGKILL");
    await eventually("the folder is gone", () => (existsSync(join(root, victim)) ? undefined : true));
    await untilReady("handler", 3, victim);
  });

  it("survive the provider's death in replicas that go on, and do not survive those that died meanwhile", async () => {
    const root = dirname(dirname(folder));
    const [victim = "", survivor = ""] = await untilReady("handler", 3);
    const starts = providerStarts();
    killProvider();
    process.kill(pidOf(victim), "SIGKILL");
    await eventually("the next provider", () => (providerStarts() > starts ? true : undefined));
    const value = newValue();
    expect((await set("PUT", "api-key", value)).status).to.equal(202);
    first = value;
    await eventually("the dead replica's folder is gone", () => (existsSync(join(root, victim)) ? undefined : true));
    await eventually("the new value in a replica that was taken over", () =>
      digestOf(readFileSync(join(root, survivor, "secrets/api-key"))) === digestOf(value) ? true : undefined,
    );
    expect(await untilReady("handler", 3, victim)).to.include(survivor);
  });

  describe("values", () => {
    const assertNone = (what: string, text: string): void => {
      for (const value of values) {
        const forms = [value, Buffer.from(value).toString("base64").slice(0, 28), Buffer.from(value).toString("hex")];
        expect(
          forms.some((form) => text.includes(form)),
          `${what} holds a value`,
        ).to.equal(false);
      }
    };

    it("would be found by this test, because a search that finds nothing anywhere proves nothing", () => {
      expect(() => assertNone("this", `{"value":"${values[0]}"}`)).to.throw("holds a value");
    });

    it("were in no message on the bus, in no direction", () => {
      expect(wire.some((text) => text.startsWith("busker.secret.create."))).to.equal(true);
      assertNone("a message", wire.join("\n"));
    });

    it("are in no stream and no bucket", async () => {
      const manager = await jetstreamManager(admin.nc);
      const seen: string[] = [];
      for await (const { config, state } of manager.streams.list()) {
        for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
          const message = await manager.streams.getMessage(config.name, { seq }).catch(() => null);
          if (!message) continue;
          assertNone(`${config.name} ${message.subject}`, Buffer.from(message.data).toString("latin1"));
          seen.push(message.subject);
          const isSealed = message.subject.startsWith("$KV.secrets.");
          if (!isSealed) expect(message.string(), message.subject).to.not.contain("ciphertext");
        }
      }
      expect(seen).to.include.members([
        `$KV.secrets.api-key.${namespace}`,
        `busker.secret.created.${namespace}`,
        `busker.secret.updated.${namespace}`,
        `$KV.functions.handler.${namespace}`,
      ]);
      expect(seen.filter((subject) => /^busker\.secret\.(create|update|remove|list)\./.test(subject))).to.deep.equal(
        [],
      );
    });

    it("are in no file of the data folder, the server's store and every log included", () => {
      const files = filesBelow(platform.dataFolder);
      expect(files.some((file) => file.includes("KV_secrets"))).to.equal(true);
      for (const file of files) assertNone(file, readIfThere(file));
    });

    it("are in no environment and no command line", () => {
      let looked = 0;
      findProcesses((commandLine, environment) => {
        if (`${commandLine}${environment}`.includes(platform.dataFolder)) looked += 1;
        assertNone("a process", commandLine + environment);
        return false;
      });
      expect(looked).to.be.greaterThan(5);
    });

    it("are in nothing that the platform prints or answers", async () => {
      assertNone("the output", platform.output());
      for (const page of [
        "/system/functions",
        "/system/function/handler",
        path,
        "/system/info",
        ...kinds.map((kind) => `/system/logs?name=${kind}`),
      ])
        assertNone(page, await (await platform.api("GET", page)).text());
      assertNone("metrics", await (await fetch(platform.metricsUrl)).text());
    });
  });

  describe("after all", () => {
    it("they are gone from the machine when their functions and they are removed", async () => {
      const root = dirname(dirname(folder));
      for (const kind of kinds)
        expect((await platform.api("DELETE", "/system/functions", { functionName: kind })).status).to.equal(202);
      for (const name of ["api-key", "tls.crt"])
        expect((await platform.api("DELETE", path, { name })).status).to.equal(202);
      expect(await listNames()).to.deep.equal([]);
      await eventually("the folder of all secrets is gone", () => (existsSync(root) ? undefined : true));
      const manager = await jetstreamManager(admin.nc);
      const last = await manager.streams.getMessage("KV_secrets", { last_by_subj: `$KV.secrets.api-key.${namespace}` });
      expect(last?.data.length).to.equal(0);
    });

    it("nor are they left when the platform stops while its provider is dead", async () => {
      await set("POST", "api-key", newValue());
      await deploy("handler", "last", { secrets: ["api-key"] });
      const left = (await call("last", "api-key")).folder;
      expect(existsSync(left)).to.equal(true);
      const exited = once(platform.process, "exit");
      killProvider();
      platform.process.kill("SIGTERM");
      await exited;
      expect(existsSync(dirname(dirname(left)))).to.equal(false);
    });
  });
});
