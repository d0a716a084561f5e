import { createHash } from "node:crypto";
import { expect } from "chai";
import type { FunctionSpec } from "../../../schemas/function.ts";
import type { ReplicaOrder } from "../../../schemas/invocation.ts";
import { formatSecretName } from "../../../schemas/secret.ts";
import { openSecretOrder } from "../../bus/secret-order.ts";
import { silentLog } from "../../runtime/log.ts";
import {
  createReplicaSecrets,
  readSecretsLabel,
  type ReplicaSecrets,
  secretMounts,
  secretsLabels,
} from "./replica-secrets.ts";

const namespace = "openfaas-fn";
const keyOf = (replica: string): Buffer => createHash("sha256").update(replica).digest();
const spec = (secrets?: readonly string[]): FunctionSpec => ({
  name: "fn",
  namespace,
  image: "app:1",
  ...(secrets && { secrets }),
});

describe("createReplicaSecrets()", () => {
  let values: Map<string, { value: Buffer; version: number }>;
  let sent: string[];
  let warnings: unknown[];
  let secrets: ReplicaSecrets;

  const set = (name: string, value: string, version: number): void => {
    values.set(name, { value: Buffer.from(value), version });
  };
  /** Orders as the replica opens them. */
  const sendOrder = (replica: string, order: ReplicaOrder): void => {
    if (order.kind !== "secret") throw new Error(`not an order of a secret: ${order.kind}`);
    sent.push(
      `${replica} ${order.name} ${order.version} ${openSecretOrder(keyOf(replica), replica, order).toString()}`,
    );
  };

  beforeEach(() => {
    values = new Map();
    sent = [];
    warnings = [];
    set("a.openfaas-fn", "one", 3);
    set("b.openfaas-fn", "two", 4);
    set("a.dev", "elsewhere", 5);
    secrets = createReplicaSecrets({
      secrets: {
        readValue: (name) => {
          const found = values.get(formatSecretName(name));
          if (!found) throw new Error(`there is no secret ${formatSecretName(name)}`);
          return found;
        },
      },
      keyOf,
      sendOrder,
      log: { ...silentLog, warn: (_, fields) => warnings.push(fields) },
    });
  });

  it("gives a launch each secret once, with its version, and the replica's own key", () => {
    expect(secrets.launchSecrets("r1", spec(["a", "b", "a"]))).to.deep.equal({
      folder: "/var/openfaas/secrets",
      key: keyOf("r1").toString("base64"),
      files: {
        a: { version: 3, value: Buffer.from("one").toString("base64") },
        b: { version: 4, value: Buffer.from("two").toString("base64") },
      },
    });
  });

  it("gives a function without secrets nothing", () => {
    expect([spec(), spec([])].map((each) => secrets.launchSecrets("r1", each))).to.deep.equal([undefined, undefined]);
  });

  it("refuses a launch whose secret is not there, and then sends that replica nothing", () => {
    expect(() => secrets.launchSecrets("r1", spec(["a", "gone"]))).to.throw("there is no secret gone.openfaas-fn");
    set("a.openfaas-fn", "new", 6);
    secrets.renew({ namespace, name: "a" });
    expect(sent).to.deep.equal([]);
  });

  it("sends a newer value to the replicas of that namespace that have the secret, and to no other", () => {
    secrets.launchSecrets("r1", spec(["a"]));
    secrets.launchSecrets("r2", spec(["b"]));
    secrets.launchSecrets("r3", { ...spec(["a"]), namespace: "dev" });
    secrets.launchSecrets("r4", spec(["a", "b"]));
    secrets.forget("r4");
    set("a.openfaas-fn", "new", 6);
    secrets.renew({ namespace, name: "a" });
    expect(sent).to.deep.equal(["r1 a 6 new"]);
  });

  it("sends again at catchUp() what has changed since the launch, because an order may be lost, and nothing else", () => {
    secrets.launchSecrets("r1", spec(["a", "b"]));
    secrets.catchUp("r1");
    set("a.openfaas-fn", "new", 6);
    secrets.renew({ namespace, name: "a" });
    secrets.catchUp("r1");
    secrets.catchUpAll();
    expect(sent).to.deep.equal(["r1 a 6 new", "r1 a 6 new", "r1 a 6 new"]);
  });

  it("sends an adopted replica all that it has, because nobody knows which values those are", () => {
    secrets.adopt({ id: "r1", namespace, names: ["a", "b"] });
    secrets.adopt({ id: "r2", namespace, names: [] });
    expect(sent).to.deep.equal(["r1 a 3 one", "r1 b 4 two"]);
  });

  it("leaves a replica the value of a secret that was removed, and says so without a value", () => {
    secrets.adopt({ id: "r1", namespace, names: ["gone"] });
    expect(sent).to.deep.equal([]);
    expect(warnings).to.deep.equal([{ replica: "r1", secret: "gone", error: "there is no secret gone.openfaas-fn" }]);
  });
});

describe("secretMounts()", () => {
  it("gives the function's secrets room for the largest values and one draft, in memory", () => {
    const [mount] = secretMounts({ secrets: ["a", "b"] });
    expect(mount).to.deep.include({ Type: "tmpfs", Target: "/var/openfaas/secrets" });
    expect(mount?.TmpfsOptions?.SizeBytes).to.be.at.least(3 * 1024 ** 2);
  });

  it("gives a function without secrets none", () => expect(secretMounts({})).to.deep.equal([]));
});

describe("readSecretsLabel()", () => {
  for (const secrets of [[], ["a"], ["a", "tls.crt"]])
    it(`reads back ${JSON.stringify(secrets)}`, () =>
      expect(readSecretsLabel(secretsLabels({ secrets }))).to.deep.equal(secrets));
});
