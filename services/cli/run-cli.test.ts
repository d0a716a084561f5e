import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type FakeAnswer, type FakeGateway, startFakeGateway } from "./fixtures/fake-gateway.ts";
import { runInMemory } from "./fixtures/run-in-memory.ts";

const info = { provider: { provider: "busker", orchestration: "process" }, version: { release: "9.9.9", sha: "abc" } };
const json = (status: number, value: unknown): FakeAnswer => ({ status, body: JSON.stringify(value) });
const basic = (password: string): string => `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;

describe("runCli()", () => {
  let gateway: FakeGateway;
  let folder: string;
  const start = async (routes: Readonly<Record<string, FakeAnswer>>): Promise<void> => {
    gateway = await startFakeGateway(routes);
  };
  const run = (args: readonly string[], given: Parameters<typeof runInMemory>[1] = {}) =>
    runInMemory([...args, "-g", gateway.url], given);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "busker-cli-"));
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await gateway?.close();
  });

  describe("help and usage", () => {
    const commands = [
      "up",
      "deploy",
      "invoke",
      "list",
      "describe",
      "logs",
      "scale",
      "remove",
      "keys",
      "login",
      "version",
    ];
    const secretCommands = ["secret", ...["create", "update", "list", "remove"].map((verb) => `secret ${verb}`)];
    const callCommands = ["calls", ...["show", "cancel", "wait", "replay"].map((verb) => `calls ${verb}`)];
    const deadCommands = ["list", "show", "replay", "purge"].map((verb) => `dead ${verb}`);
    for (const command of [...commands, ...secretCommands, ...callCommands, ...deadCommands])
      it(`shows an example in the help of ${command} and exits 0, because an example teaches fastest`, async () => {
        const { code, stdout } = await runInMemory([...command.split(" "), "--help"]);
        expect([code, /Example:\n {2}.*busker /.test(stdout.toString())]).to.deep.equal([0, true]);
      });

    const misuses = [
      { args: ["nonsense"], says: "unknown command 'nonsense'" },
      { args: ["list", "--colour"], says: "unknown option '--colour'" },
      { args: ["deploy"], says: "either a folder (or its archive) or --image" },
      { args: ["deploy", ".", "--image", "a"], says: "either a folder (or its archive) or --image" },
      { args: ["deploy", "--image", "Big:1"], says: "the image's name (give another with --name)" },
      { args: ["scale", "fn", "many"], says: "whole number" },
      { args: ["scale", "fn", "-1"], says: "-1" },
      { args: ["scale", "fn", "10001"], says: "a whole number from 0 to 10000" },
      { args: ["deploy", ".", "--mode", "turbo"], says: "streaming, serializing, http, static, handler, pool" },
      { args: ["invoke", "Bad_Name"], says: "function name must be 1 to 63 characters of a-z, 0-9 and -" },
      { args: ["describe", "fn", "-n", "A.B"], says: "namespace must be" },
      { args: ["invoke", "fn", "-H", "no colon"], says: "NAME: VALUE" },
      { args: ["deploy", ".", "-e", "novalue"], says: "KEY=VALUE" },
      { args: ["logs", "fn", "--since", "yesterday"], says: "duration such as 5m" },
      { args: ["secret", "create", "a/b", "--from-literal", "x"], says: "the secret's name must be 1 to 253" },
      { args: ["secret", "create", "a", "--from-literal", "x", "--from-file", "y"], says: "exclude each other" },
      { args: ["secret", "update", "a", "--from-literal", " \n"], says: "the value is empty" },
      { args: ["secret", "remove"], says: "missing required argument 'name'" },
      { args: ["calls", "--state", "lost"], says: "queued, running, retrying, succeeded, dead, cancelled, failed" },
      { args: ["calls", "--function", "Bad!"], says: "function name must be" },
      { args: ["calls", "replay", "c1", "--to", "Bad!"], says: "function name must be" },
      { args: ["calls", "wait", "c1", "--timeout", "soon"], says: "duration such as 30s" },
      { args: ["dead", "replay"], says: "either call ids or --function" },
      { args: ["dead", "purge", "c1", "--function", "fn"], says: "either call ids or --function" },
      { args: ["keys", "--owner", "nobody=1"], says: "one of nats, provider, gateway, queue-worker, scaler, admin" },
      { args: ["keys", "--cluster", "a b"], says: "host names" },
      { args: ["list", "-g", "ftp://x"], says: "http:// or https://" },
    ];
    for (const { args, says } of misuses)
      it(`exits 2 for \`busker ${args.join(" ")}\`, because the command line itself is wrong`, async () => {
        const { code, stderr } = await runInMemory(args);
        expect([code, stderr]).to.satisfy(([c, text]: [number, string]) => c === 2 && text.includes(says));
      });
  });

  describe("the gateway and who calls it", () => {
    it("says where nobody answers and what to do, because `up` is what a newcomer forgets", async () => {
      await start({});
      await gateway.close();
      const { code, stderr } = await run(["list"]);
      expect([code, stderr]).to.deep.equal([
        1,
        `busker: cannot reach the gateway at ${gateway.url} (is \`busker up\` running there?): ${/connect .*/.exec(stderr)?.[0]}\n`,
      ]);
    });

    it("tells to log in when the gateway answers 401", async () => {
      await start({ "GET /system/functions": { status: 401, body: "invalid credentials" } });
      const { code, stderr } = await run(["list"]);
      expect([code, stderr.includes(`run \`busker login -g ${gateway.url}\``)]).to.deep.equal([1, true]);
    });

    it("names the file in which it looked for a password and found none, because a wrong folder is the usual cause", async () => {
      await start({ "GET /system/functions": { status: 401 } });
      const { stderr } = await run(["list"], { env: { BUSKER_DATA: folder } });
      expect(stderr).to.contain("none was found").and.contain(join(folder, "secrets/basic-auth-password"));
    });

    it("calls itself as it was called in its advice, because advice is copied", async () => {
      await start({ "GET /system/functions": { status: 401 } });
      const { stderr } = await run(["list"], { env: { BUSKER_COMMAND: "./scripts/busker" } });
      expect(stderr).to.contain(`run \`./scripts/busker login -g ${gateway.url}\``);
    });

    it("takes the URL from BUSKER_URL, then OPENFAAS_URL, then BUSKER_PORT", async () => {
      await start({ "GET /system/functions": json(200, []) });
      const port = new URL(gateway.url).port;
      const environments = [
        { BUSKER_URL: `${gateway.url}/`, OPENFAAS_URL: "http://127.0.0.1:1" },
        { OPENFAAS_URL: gateway.url },
        { BUSKER_PORT: port },
      ];
      const codes = [];
      for (const env of environments) codes.push((await runInMemory(["list"], { env })).code);
      expect(codes).to.deep.equal([0, 0, 0]);
    });

    it("sends the stored login before BUSKER_PASSWORD before the data folder's password", async () => {
      await start({ "GET /system/functions": json(200, []), "GET /system/info": json(200, info) });
      mkdirSync(join(folder, "secrets"));
      writeFileSync(join(folder, "secrets/basic-auth-password"), "from-data\n");
      const env = { BUSKER_DATA: folder, BUSKER_CONFIG: join(folder, "config") };
      await run(["list"], { env });
      await run(["list"], { env: { ...env, BUSKER_PASSWORD: "from-env" } });
      await run(["login"], { env, stdin: "from-login\n" });
      await run(["list"], { env: { ...env, BUSKER_PASSWORD: "from-env" } });
      expect(gateway.seen.map(({ headers }) => headers.authorization)).to.deep.equal(
        ["from-data", "from-env", "from-login", "from-login"].map(basic),
      );
      expect(statSync(join(folder, "config/config.json")).mode & 0o777).to.equal(0o600);
    });

    it("keeps no login that the gateway refuses, because it would break every later command", async () => {
      await start({ "GET /system/info": { status: 401 } });
      const env = { BUSKER_CONFIG: folder };
      const { code, stderr } = await run(["login", "--password", "wrong"], { env });
      expect([code, stderr]).to.deep.equal([
        1,
        `busker: cannot log in: ${gateway.url} refused this user name and password\n`,
      ]);
      expect(() => readFileSync(join(folder, "config.json"))).to.throw();
    });

    it("shows its own version for --version, because every command has it", async () => {
      const { code, stdout } = await runInMemory(["--version"]);
      expect([code, /^\d+\.\d+\.\d+\n$/.test(stdout.toString())]).to.deep.equal([0, true]);
    });

    it("shows the client's version and why the gateway's is unknown, because one of them is better than none", async () => {
      await start({});
      await gateway.close();
      const { code, stdout } = await run(["version"]);
      expect(code).to.equal(0);
      expect(stdout.toString()).to.match(/^client: {2}\d+\.\d+\.\d+\ngateway: cannot reach/);
    });
  });

  describe("deploy", () => {
    const image = `bundle:sha256:${"a".repeat(64)}`;
    const bundles: Readonly<Record<string, FakeAnswer>> = { "POST /system/bundles": json(201, { image, size: 1 }) };

    beforeEach(() => {
      mkdirSync(join(folder, "hello"));
      writeFileSync(join(folder, "hello/handler.mjs"), "export default () => 'hi';");
    });
    const sent = () => gateway.seen.filter(({ method }) => method !== "GET");
    const deployed = (): unknown => JSON.parse(sent().at(-1)?.body.toString() ?? "");

    it("uploads a folder, updates, and creates on 404, because faas-cli's order makes deploying twice no error", async () => {
      await start({ ...bundles, "PUT /system/functions": { status: 404 }, "POST /system/functions": { status: 202 } });
      const { code, stdout } = await run(["deploy", join(folder, "hello"), "-e", "A=b=c", "-l", "team=x"]);
      expect(code).to.equal(0);
      expect(stdout.toString()).to.contain(`hello.openfaas-fn created: ${gateway.url}/function/hello\n`);
      expect(sent().map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
        "POST /system/bundles",
        "PUT /system/functions",
        "POST /system/functions",
      ]);
      expect(gateway.seen[0]?.headers["content-type"]).to.equal("application/gzip");
      expect(deployed()).to.deep.equal({
        service: "hello",
        namespace: "openfaas-fn",
        image,
        envVars: { A: "b=c", mode: "handler" },
        labels: { team: "x" },
      });
    });

    it("sends an archive byte for byte, because its hash is the maker's", async () => {
      await start({ ...bundles, "PUT /system/functions": { status: 202 } });
      await run(["deploy", join(folder, "hello"), "--json"]);
      const archive = join(folder, "greet.tgz");
      writeFileSync(archive, gateway.seen[0]?.body ?? "");
      const { code, stdout } = await run(["deploy", archive, "-n", "dev", "--json"]);
      expect([code, JSON.parse(stdout.toString())]).to.deep.equal([
        0,
        { name: "greet", namespace: "dev", image, url: `${gateway.url}/function/greet.dev`, done: "updated" },
      ]);
      expect(sent()[2]?.body.equals(readFileSync(archive))).to.equal(true);
    });

    it("reads function.yaml, and lets an option win over it", async () => {
      await start({ ...bundles, "PUT /system/functions": { status: 202 } });
      writeFileSync(join(folder, "hello/function.yaml"), "fprocess: cat\nnamespace: dev\nlimits: {memory: 64Mi}\n");
      await run(["deploy", join(folder, "hello"), "--name", "other", "--memory-limit", "1Gi", "--mode", "serializing"]);
      expect(deployed()).to.deep.equal({
        service: "other",
        namespace: "dev",
        image,
        envProcess: "cat",
        envVars: { mode: "serializing" },
        limits: { memory: "1Gi" },
      });
    });

    it("exits 1 with the reason when no replica is ready, because a function that does not answer is no success", async () => {
      const outcome = { wish: "w", replicas: 1, availableReplicas: 0 };
      const problem = { message: "exit code 1", at: "2026-01-01T00:00:00Z", failures: 3 };
      await start({
        ...bundles,
        "PUT /system/functions": json(202, outcome),
        "GET /system/function/hello": json(200, { name: "hello", image, problem }),
      });
      const { code, stdout, stderr } = await run(["deploy", join(folder, "hello")]);
      expect([code, stdout.length]).to.deep.equal([1, 0]);
      expect(stderr).to.match(
        /hello\.openfaas-fn is deployed, but no replica is ready after \d+ s \(0\/1\); .*describe hello.*\nbusker: exit code 1\n$/,
      );
    });

    it("deploys an image under the last part of its name, with its own command unless told another", async () => {
      await start({ "PUT /system/functions": json(202, { replicas: 1, availableReplicas: 1 }) });
      const image = "registry.example:5000/team/upper:1.2@sha256:00";
      const { code } = await run(["deploy", "--image", image, "-e", "A=b"]);
      expect([code, deployed()]).to.deep.equal([
        0,
        { service: "upper", namespace: "openfaas-fn", image, envVars: { A: "b" } },
      ]);
    });

    it("warns of what the platform does not do for it, because the deploy succeeds all the same", async () => {
      const warnings = ["limits.cpu 1 is not enforced: this machine has no cgroups"];
      await start({
        ...bundles,
        "PUT /system/functions": json(202, { replicas: 1, availableReplicas: 1 }),
        "GET /system/function/hello": json(200, { name: "hello", image, warnings }),
      });
      const { code, stderr } = await run(["deploy", join(folder, "hello")]);
      expect([code, stderr]).to.deep.equal([0, `busker: warning: ${warnings[0]}\n`]);
    });

    it("shows no nats command for a platform whose address it does not know, because it would fail", async () => {
      await start({ ...bundles, "PUT /system/functions": json(202, { replicas: 1, availableReplicas: 1 }) });
      const { code, stdout } = await run(["deploy", join(folder, "hello")]);
      expect([code, stdout.includes("nats ")]).to.deep.equal([0, false]);
    });

    it("shows the nats command with server and credentials of the platform on this machine", async () => {
      await start({ ...bundles, "PUT /system/functions": { status: 202 } });
      const data = join(folder, "data");
      for (const name of ["nats", "creds"]) mkdirSync(join(data, name), { recursive: true });
      writeFileSync(join(data, "creds/invoke.creds"), "");
      writeFileSync(join(data, "nats/nats-server.pid"), "7");
      writeFileSync(join(data, "nats/nats-server_7.ports"), '{"nats":["nats://127.0.0.1:4333"]}');
      const { stdout } = await run(["deploy", join(folder, "hello")], { env: { BUSKER_DATA: data } });
      expect(stdout.toString()).to.contain(
        `nats --server nats://127.0.0.1:4333 --creds ${data}/creds/invoke.creds request busker.invoke.openfaas-fn.hello`,
      );
    });

    it("gives the gateway's own reason when deploying fails, because only it knows", async () => {
      await start({ ...bundles, "PUT /system/functions": { status: 400, body: "limits.memory must be an amount" } });
      const { code, stderr } = await run(["deploy", join(folder, "hello")]);
      expect([code, stderr]).to.deep.equal([
        1,
        "busker: cannot deploy hello: limits.memory must be an amount (HTTP 400)\n",
      ]);
    });

    it("uploads nothing that cannot be run, because the mistake is on this side", async () => {
      await start(bundles);
      rmSync(join(folder, "hello/handler.mjs"));
      writeFileSync(join(folder, "hello/main.py"), "");
      const { code, stderr } = await run(["deploy", join(folder, "hello")]);
      expect([code, stderr.includes("--fprocess"), gateway.seen.length]).to.deep.equal([1, true, 0]);
    });

    it("says that a path is not there, and that a folder's name cannot be a function's", async () => {
      await start({});
      mkdirSync(join(folder, "My_Fn"));
      writeFileSync(join(folder, "My_Fn/handler.mjs"), "");
      const missing = await run(["deploy", join(folder, "nothing")]);
      const badName = await run(["deploy", join(folder, "My_Fn")]);
      expect(missing.stderr).to.contain("there is no such file or folder");
      expect([badName.code, badName.stderr.includes("--name")]).to.deep.equal([2, true]);
    });
  });

  describe("invoke", () => {
    it("sends standard input and writes the answer byte for byte, because a function's data is not text", async () => {
      const bytes = Buffer.from(Array.from({ length: 1024 }, (_, index) => index % 256));
      await start({ "POST /function/fn": (response, { body }) => void response.end(body) });
      const { code, stdout } = await run(["invoke", "fn"], { stdin: bytes });
      expect([code, stdout.equals(bytes), gateway.seen[0]?.headers["content-length"]]).to.deep.equal([0, true, "1024"]);
    });

    it("streams an input of any length, because it need not fit into memory", async () => {
      const bytes = Buffer.alloc(3 * 1024 * 1024, "x");
      await start({ "POST /function/fn": (response, { body }) => void response.end(String(body.length)) });
      const { stdout } = await run(["invoke", "fn"], { stdin: bytes });
      expect([stdout.toString(), gateway.seen[0]?.headers["transfer-encoding"]]).to.deep.equal(["3145728", "chunked"]);
    });

    it("sends method, path, query, headers and content type as they were given", async () => {
      await start({ "GET /function/fn.dev/a/b": { status: 200 } });
      const args = ["invoke", "fn.dev", "-m", "get", "--path", "a/b", "-q", "x=1 2", "-q", "y=a=b", "-d", ""];
      await run([...args, "-H", "X-One: 1", "-H", "x-one: 2", "-H", "Accept:text/html"]);
      const [seen] = gateway.seen;
      expect([seen?.method, seen?.url, seen?.headers["x-one"], seen?.headers.accept]).to.deep.equal([
        "GET",
        "/function/fn.dev/a/b?x=1+2&y=a%3Db",
        "1, 2",
        "text/html",
      ]);
    });

    for (const status of [302, 404, 500])
      it(`exits 1 on ${status} with the status on standard error and the body on standard output`, async () => {
        await start({ "POST /function/fn": { status, body: "why", headers: { location: "/elsewhere" } } });
        const { code, stdout, stderr } = await run(["invoke", "fn"], { stdin: "x" });
        expect([code, stdout.toString()]).to.deep.equal([1, "why"]);
        expect(stderr).to.match(new RegExp(`^busker: fn.openfaas-fn answered ${status} `));
      });

    it("--async prints the id of the call that was queued, to ask for it by", async () => {
      await start({ "PUT /async-function/fn/a": { status: 202, headers: { "x-call-id": "some id" } } });
      const { code, stdout } = await run(["invoke", "fn", "--async", "-m", "PUT", "--path", "a"], { stdin: "x" });
      expect([code, stdout.toString()]).to.deep.equal([0, "some id\n"]);
    });

    it("--async exits 1 when the call was not queued, and prints no id", async () => {
      await start({ "POST /async-function/fn": { status: 503, body: "full", headers: { "x-call-id": "some id" } } });
      const { code, stdout, stderr } = await run(["invoke", "fn", "--async"], { stdin: "x" });
      expect([code, stdout.toString(), stderr.includes("answered 503")]).to.deep.equal([1, "full", true]);
    });

    it("exits 1 when the answer is cut short, because half an answer is none", async () => {
      await start({
        "POST /function/fn": (response) => {
          response.writeHead(200, { "content-length": "10" });
          response.write("half", () => response.destroy());
        },
      });
      const { code, stderr } = await run(["invoke", "fn"], { stdin: "x" });
      expect([code, stderr.includes("fn.openfaas-fn broke off before its end")]).to.deep.equal([1, true]);
    });
  });

  describe("secret", () => {
    const path = "/system/secrets";
    const bodies = (): unknown[] => gateway.seen.map(({ body }) => JSON.parse(body.toString()));
    const secret = { name: "key", namespace: "openfaas-fn" };

    it("create sends standard input without the white space around it, and does not show it", async () => {
      await start({ [`POST ${path}`]: { status: 201 } });
      const { code, stdout, stderr } = await run(["secret", "create", "key"], { stdin: " hunter2\n" });
      expect([code, stdout.toString(), stderr]).to.deep.equal([0, "secret key.openfaas-fn created\n", ""]);
      expect(bodies()).to.deep.equal([{ ...secret, value: "hunter2" }]);
    });

    it("create takes a text, and a file as it is: white space with --no-trim, and bytes that are no text", async () => {
      await start({ [`POST ${path}`]: { status: 201 } });
      const file = join(folder, "value");
      const write = async (bytes: Buffer, ...more: readonly string[]): Promise<void> => {
        writeFileSync(file, bytes);
        expect((await run(["secret", "create", "key", "--from-file", file, ...more])).code).to.equal(0);
      };
      await run(["secret", "create", "key", "-n", "dev", "--from-literal", "hunter2"]);
      await write(Buffer.from("a\n"), "--no-trim");
      await write(Buffer.from([10, 255, 10]));
      expect(bodies()).to.deep.equal([
        { name: "key", namespace: "dev", value: "hunter2" },
        { ...secret, value: "a\n" },
        { ...secret, rawValue: "Cv8K" },
      ]);
    });

    it("create says that the secret exists, and updates it with --replace", async () => {
      await start({ [`POST ${path}`]: { status: 409, body: "it exists" }, [`PUT ${path}`]: { status: 202 } });
      const args = ["secret", "create", "key", "--from-literal", "hunter2"];
      const refused = await run(args);
      expect([refused.code, refused.stderr]).to.deep.equal([
        1,
        "busker: cannot create secret key.openfaas-fn: it exists (HTTP 409)\n",
      ]);
      const replaced = await run([...args, "--replace"]);
      expect([replaced.code, replaced.stdout.toString()]).to.deep.equal([0, "secret key.openfaas-fn updated\n"]);
      expect(gateway.seen.map(({ method }) => method)).to.deep.equal(["POST", "POST", "PUT"]);
    });

    it("update and remove name the secret in the body, as OpenFaaS clients do", async () => {
      await start({ [`PUT ${path}`]: { status: 202 }, [`DELETE ${path}`]: { status: 202 } });
      const updated = await run(["secret", "update", "key", "--from-literal", "new"]);
      const removed = await run(["secret", "remove", "key"]);
      expect(updated.stdout.toString() + removed.stdout.toString()).to.equal(
        "secret key.openfaas-fn updated\nsecret key.openfaas-fn removed\n",
      );
      expect(bodies()).to.deep.equal([{ ...secret, value: "new" }, secret]);
    });

    it("list shows names, and says on standard error that there are none", async () => {
      await start({ [`GET ${path}`]: json(200, [secret, { ...secret, name: "tls.crt" }]) });
      expect((await run(["secret", "list"])).stdout.toString()).to.equal("NAME\nkey\ntls.crt\n");
      expect(gateway.seen[0]?.url).to.equal(`${path}?namespace=openfaas-fn`);
      await gateway.close();
      await start({ [`GET ${path}`]: json(200, []) });
      expect((await run(["secret", "list"])).stderr).to.equal("busker: no secrets in openfaas-fn\n");
    });

    it("names a file that cannot be read", async () => {
      await start({});
      const { code, stderr } = await run(["secret", "create", "key", "--from-file", join(folder, "nothing")]);
      expect([code, stderr]).to.satisfy(
        ([c, text]: [number, string]) => c === 1 && text.includes(join(folder, "nothing")) && text.includes("ENOENT"),
      );
      expect(gateway.seen).to.deep.equal([]);
    });
  });

  describe("the other commands", () => {
    const status = {
      name: "fn",
      image: `bundle:sha256:${"b".repeat(64)}`,
      namespace: "dev",
      replicas: 2,
      availableReplicas: 1,
    };

    it("list asks for one namespace and shows ready and wished replicas, absent meaning 0", async () => {
      await start({ "GET /system/functions": json(200, [status, { name: "zero", image: "x:1", namespace: "dev" }]) });
      const { stdout } = await run(["list", "-n", "dev"]);
      expect(stdout.toString()).to.equal(
        "NAME  READY  CALLS  IMAGE\nfn    1/2    0      bundle:bbbbbbbbbbbb\nzero  0/0    0      x:1\n",
      );
      expect(gateway.seen[0]?.url).to.equal("/system/functions?namespace=dev");
    });

    it("list sorts by name, and says on standard error that a namespace has no function", async () => {
      const named = (name: string) => ({ ...status, name });
      await start({ "GET /system/functions": json(200, [named("b"), named("a")]) });
      const { stdout } = await run(["list"]);
      expect(stdout.toString()).to.match(/\na [^]*\nb /);
      await gateway.close();
      await start({ "GET /system/functions": json(200, []) });
      const none = await run(["list", "-n", "typo"]);
      expect([none.code, none.stdout.length, none.stderr]).to.deep.equal([0, 0, "busker: no functions in typo\n"]);
    });

    it("describe shows a line for each replica and the problem in words, and nothing that is empty", async () => {
      const at = "2026-01-01T00:00:00Z";
      const replicaStates = [{ id: "r1", state: "ready", revision: "x", since: at }];
      const warnings = ["limits.cpu 1 is not enforced"];
      const problem = { message: "r2 ended:\nno database\n", at, failures: 2 };
      await start({
        "GET /system/function/fn": json(200, { ...status, annotations: {}, replicaStates, warnings, problem }),
      });
      const text = (await run(["describe", "fn.dev"])).stdout.toString();
      expect(text).to.match(/^replica: +r1 ready since 2026-01-01T00:00:00Z$/m);
      expect(text).to.match(/^warning: +limits\.cpu 1 is not enforced$/m);
      expect(text).to.match(
        /^problem: +r2 ended:\n {18}no database \(at 2026-01-01T00:00:00Z; failed starts in a row: 2\)$/m,
      );
      expect(text).to.not.match(/annotations|object Object/);
    });

    it("describe says that there is no such function, and gives JSON as the gateway does", async () => {
      await start({ "GET /system/function/fn": json(200, status) });
      const found = await run(["describe", "fn.dev", "--json"]);
      const missing = await run(["describe", "nothing"]);
      expect(JSON.parse(found.stdout.toString())).to.deep.equal(status);
      expect([missing.code, missing.stderr]).to.deep.equal([
        1,
        "busker: cannot describe nothing.openfaas-fn: no such route (HTTP 404)\n",
      ]);
    });

    it("scale and remove send what OpenFaaS clients send, name and namespace in the body", async () => {
      await start({ "POST /system/scale-function/fn": { status: 202 }, "DELETE /system/functions": { status: 202 } });
      expect((await run(["scale", "fn", "0"])).stdout.toString()).to.equal("fn.openfaas-fn: 0 replicas wished for\n");
      expect((await run(["remove", "fn", "-n", "dev"])).code).to.equal(0);
      expect(gateway.seen.map(({ body }) => JSON.parse(body.toString()))).to.deep.equal([
        { serviceName: "fn", namespace: "openfaas-fn", replicas: 0 },
        { functionName: "fn", namespace: "dev" },
      ]);
    });

    it("logs shows line by line and passes its options on, a duration as a time", async () => {
      const line = { name: "fn", namespace: "dev", instance: "r1", timestamp: "2026-01-01T00:00:00Z", text: "hello\n" };
      await start({ "GET /system/logs": { status: 200, body: `${JSON.stringify(line)}\n`.repeat(2) } });
      const { stdout } = await run(["logs", "fn.dev", "--since", "5m", "--tail", "2", "--instance", "r1", "-f"]);
      const asked = new URL(gateway.seen[0]?.url ?? "", gateway.url).searchParams;
      expect(stdout.toString()).to.equal("2026-01-01T00:00:00Z r1 hello\n".repeat(2));
      expect(["name", "namespace", "tail", "instance", "follow"].map((key) => asked.get(key))).to.deep.equal([
        "fn",
        "dev",
        "2",
        "r1",
        "true",
      ]);
      expect(Date.now() - Date.parse(asked.get("since") ?? "")).to.be.within(300_000, 310_000);
    });
  });
});
