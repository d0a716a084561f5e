import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { createAlertRoute, replicasByAlert } from "./alert-route.ts";
import { createApp } from "./app.ts";

describe("replicasByAlert()", () => {
  const rules = { min: 1, max: 20, factor: 10 };
  for (const [what, isFiring, current, more, replicas] of [
    ["a step more when it fires", true, 1, {}, 3],
    ["a step of a whole replica at least", true, 1, { max: 5 }, 2],
    ["no more than the most", true, 19, {}, 20],
    ["nothing more at the most", true, 20, {}, 20],
    ["what is there when that is more than the most", true, 30, {}, 30],
    ["a larger step by a larger factor", true, 1, { factor: 50 }, 11],
    ["nothing by the factor 0, which turns it off", true, 4, { factor: 0 }, 4],
    ["the first replicas of a function at zero", true, 0, {}, 2],
    ["the least when it is over", false, 17, {}, 1],
    ["the least of its own when it is over", false, 17, { min: 3 }, 3],
    ["zero when it is over and the function sleeps", false, 0, {}, 0],
  ] as const)
    it(`asks for ${what}`, () => expect(replicasByAlert(isFiring, current, { ...rules, ...more })).to.equal(replicas));
});

describe("POST /system/alert", () => {
  let server: Server;
  let wishes: (readonly [string, string, unknown])[] = [];
  let warnings: string[] = [];
  let failing = new Set<string>();

  const records: Readonly<Record<string, unknown>> = {
    "f.openfaas-fn": { record: { replicas: 1, spec: {} } },
    "g.other": { record: { replicas: 4, spec: { labels: { "com.openfaas.scale.min": "2" } } } },
  };

  before((done) => {
    const route = createAlertRoute({
      directory: { find: (key: string) => records[key] as never },
      wishes: {
        make: async (verb, name, data) => {
          wishes.push([verb, `${name.name}.${name.namespace}`, data]);
          if (failing.has(name.name)) throw new BuskerError("provider_unavailable", `no provider for ${name.name}`);
          return { wish: "", replicas: 0, availableReplicas: 0 };
        },
      },
      log: { warn: (text) => warnings.push(text) },
    });
    server = createServer(createApp(() => true, [route]).callback()).listen(0, "127.0.0.1", done);
  });
  beforeEach(() => {
    wishes = [];
    warnings = [];
    failing = new Set();
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  const post = (body: unknown): Promise<Response> =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/system/alert`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  const alert = (status: string, name: string) => ({ status, labels: { function_name: name, alertname: "x" } });

  it("makes a wish of each alert, whatever else Alertmanager sends", async () => {
    const { status } = await post({
      receiver: "scale-up",
      status: "firing",
      alerts: [alert("firing", "f.openfaas-fn"), alert("resolved", "g.other")],
    });
    expect(status).to.equal(200);
    expect(wishes).to.deep.equal([
      ["scale", "f.openfaas-fn", { replicas: 3 }],
      ["scale", "g.other", { replicas: 2 }],
    ]);
  });

  it("takes two steps for two alerts about one function, and a name without a namespace", async () => {
    await post({ alerts: [alert("firing", "f"), alert("firing", "f")] });
    expect(wishes.map(([, , data]) => data)).to.deep.equal([{ replicas: 3 }, { replicas: 5 }]);
  });

  it("wishes for nothing that is there already", async () => {
    expect((await post({ alerts: [alert("resolved", "f")] })).status).to.equal(200);
    expect(wishes).to.deep.equal([]);
  });

  it("passes over a function that there is not, and says so in the log, because Alertmanager would send it for ever", async () => {
    expect((await post({ alerts: [alert("firing", "nobody")] })).status).to.equal(200);
    expect(warnings).to.have.length(1);
  });

  it("answers 500 with a line for each alert that could not be followed, and follows the others", async () => {
    failing.add("f");
    const response = await post({ alerts: [alert("firing", "f"), alert("resolved", "g.other")] });
    expect([response.status, await response.text()]).to.deep.equal([500, "[0] no provider for f\n"]);
    expect(wishes).to.have.length(2);
  });

  it("follows the others of an alert that is about no function, and says which it did not follow", async () => {
    const response = await post({ alerts: [null, { status: "firing", labels: {} }, alert("firing", "f")] });
    expect(response.status).to.equal(400);
    const why = "an alert must have a status, and a label function_name";
    expect(await response.text()).to.equal(`[0] ${why}\n[1] ${why}\n`);
    expect(wishes).to.deep.equal([["scale", "f.openfaas-fn", { replicas: 3 }]]);
  });

  for (const [what, body] of [
    ["no body", ""],
    ["what is not JSON", "{"],
    ["a list", []],
    ["alerts that are no list", { alerts: 1 }],
    ["an alert without labels", { alerts: [{ status: "firing" }] }],
    ["an alert without a function's name", { alerts: [{ status: "firing", labels: {} }] }],
    ["a name that is none", { alerts: [alert("firing", "../f")] }],
  ] as const)
    it(`refuses ${what} with 400`, async () => {
      expect((await post(body)).status).to.equal(400);
      expect(wishes).to.deep.equal([]);
    });
});
