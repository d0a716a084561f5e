import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { runInMemory } from "./fixtures/run-in-memory.ts";

const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory() ? filesIn(join(folder, entry.name)).map((name) => `${entry.name}/${name}`) : [entry.name],
    )
    .toSorted();

describe("busker keys", () => {
  let folder: string;
  const at = (...parts: readonly string[]): string => join(folder, ...parts);
  const run = (...args: readonly string[]) =>
    runInMemory(["keys", ...args], { env: { BUSKER_DATA: join(folder, "data") } });

  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "busker keys-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it("gives each holder its own part and no more, because what it has not it cannot lose", async () => {
    expect((await run("--out", at("out"))).code).to.equal(0);
    const accounts = readdirSync(at("data/trust/accounts")).map((name) => `trust/accounts/${name}`);
    expect(filesIn(at("out/nats"))).to.deep.equal([...accounts, "trust/operator.jwt"].toSorted());
    expect(filesIn(at("out/provider"))).to.deep.equal([
      "creds/provider.creds",
      "trust/sealing.key",
      "trust/signer.json",
    ]);
    expect(filesIn(at("out/gateway"))).to.deep.equal([
      "creds/gateway.creds",
      "secrets/basic-auth-password",
      "secrets/basic-auth-user",
      "trust/sealing.pub",
    ]);
    expect(filesIn(at("out/scaler"))).to.deep.equal(["creds/scaler.creds"]);
    expect(filesIn(at("out/queue-worker"))).to.deep.equal([
      "creds/outcomes.creds",
      "creds/queue-worker.creds",
      "secrets/callback-key",
    ]);
    expect(filesIn(at("out"))).to.not.include("stack.env");
    for (const file of filesIn(at("out"))) expect(statSync(at("out", file)).mode & 0o777, file).to.equal(0o600);
  });

  it("hands out the same again, and what is new, because a start may come twice", async () => {
    await run("--out", at("out"));
    const before = statSync(at("out/provider/trust/signer.json")).ino;
    rmSync(at("out/gateway/creds"), { recursive: true });
    await run("--out", at("out"));
    expect(statSync(at("out/provider/trust/signer.json")).ino).to.equal(before);
    expect(filesIn(at("out/gateway"))).to.include("creds/gateway.creds");
  });

  it("tells a cluster's servers where the others are, and a stack the names of it all", async () => {
    await run("--out", at("out"), "--cluster", "nats-1,nats-2");
    const routes = readFileSync(at("out/nats/routes.conf"), "utf8");
    const [, password = ""] = /password: "([-\w]{32})"/.exec(routes) ?? [];
    expect(routes).to.include(`"nats-route://busker:${password}@nats-2:6222"`);
    const variables = readFileSync(at("out/stack.env"), "utf8");
    expect(variables).to.match(
      /BUSKER_KEYS_VERSION=[0-9a-f]{12}\n.*BUSKER_ACCOUNT=A\w{55}\n.*SYSTEM_ACCOUNT=A\w{55}\n/,
    );
    await run("--out", at("out"), "--cluster", "nats-1,nats-2");
    expect(readFileSync(at("out/stack.env"), "utf8")).to.equal(variables);
    expect(readFileSync(at("out/nats/routes.conf"), "utf8")).to.equal(routes);
  });

  it("gives a holder's files to the user named, because services do not run as root", async function () {
    if (process.getuid?.() !== 0) return this.skip();
    await run("--out", at("out"), "--owner", "gateway=12345", "--owner", "queue-worker=12346");
    const owners = ["gateway", "gateway/creds", "gateway/creds/gateway.creds", "queue-worker", "provider"].map(
      (path) => statSync(at("out", path)).uid,
    );
    expect(owners).to.deep.equal([12345, 12345, 12345, 12346, 0]);
  });

  it("shows the password only when it is asked to", async () => {
    expect(await run("--password")).to.include({ code: 1 });
    expect((await run()).stdout.toString()).to.match(/^the keys are in .*\n$/);
    const { stdout } = await run("--password");
    expect(stdout.toString().trim()).to.equal(readFileSync(at("data/secrets/basic-auth-password"), "utf8"));
  });
});
