import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { maxSecretBytes } from "../../schemas/secret.ts";
import { createApp } from "./app.ts";
import type { Secrets } from "./secrets.ts";
import { createSecretsRoute } from "./secrets-route.ts";

const canary = "hunter2-canary";
const raw = (bytes: Buffer): string => bytes.toString("base64");

describe("createSecretsRoute()", () => {
  let server: Server;
  let asked: unknown[];
  let fails: BuskerError | undefined;

  const act =
    (verb: string) =>
    async (...args: readonly unknown[]): Promise<void> => {
      if (fails) throw fails;
      asked.push([verb, ...args.map((arg) => (Buffer.isBuffer(arg) ? arg.toString("latin1") : arg))]);
    };
  const secrets: Secrets = {
    list: async (namespace) => {
      await act("list")(namespace);
      return ["a", "b"];
    },
    create: act("create"),
    update: act("update"),
    remove: act("remove"),
  };

  before((done) => {
    server = createServer(createApp(() => true, [createSecretsRoute(secrets)]).callback()).listen(0, "127.0.0.1", done);
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  beforeEach(() => {
    asked = [];
    fails = undefined;
  });

  const send = async (method: string, body?: unknown, query = "") => {
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/system/secrets${query}`, {
      method,
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text(), code: response.headers.get("x-busker-error") };
  };

  it("lists names with their namespace, and nothing else", async () => {
    const { status, text } = await send("GET", undefined, "?namespace=dev");
    expect([status, JSON.parse(text)]).to.deep.equal([
      200,
      [
        { name: "a", namespace: "dev" },
        { name: "b", namespace: "dev" },
      ],
    ]);
    await send("GET");
    expect(asked).to.deep.equal([
      ["list", "dev"],
      ["list", "openfaas-fn"],
    ]);
  });

  for (const [method, verb, status] of [
    ["POST", "create", 201],
    ["PUT", "update", 202],
  ] as const) {
    it(`${method} passes text and bytes on and answers ${status} without the value`, async () => {
      const first = await send(method, { name: "a", value: `${canary}\n` });
      const second = await send(method, { name: "a", rawValue: raw(Buffer.from([0, 255])), value: "" });
      expect([first.status, second.status]).to.deep.equal([status, status]);
      const secret = { name: "a", namespace: "openfaas-fn" };
      expect([JSON.parse(first.text), JSON.parse(second.text)]).to.deep.equal([secret, secret]);
      expect(asked).to.deep.equal([
        [verb, secret, `${canary}\n`],
        [verb, secret, "\u0000\u00ff"],
      ]);
    });

    it(`${method} takes the largest value, however JSON writes it`, async () => {
      for (const body of [
        { name: "a", value: "\u0000".repeat(maxSecretBytes) },
        { name: "a", rawValue: raw(Buffer.alloc(maxSecretBytes)) },
      ])
        expect((await send(method, body)).status).to.equal(status);
    });
  }

  it("DELETE answers 202, because the command line of OpenFaaS takes 204 for an error", async () => {
    const { status } = await send("DELETE", { name: "a", namespace: "dev" });
    expect([status, asked]).to.deep.equal([202, [["remove", { name: "a", namespace: "dev" }]]]);
  });

  it("takes the namespace from the body before the query, because clients differ", async () => {
    await send("DELETE", { name: "a" }, "?namespace=one");
    await send("DELETE", { name: "a", namespace: "two" }, "?namespace=one");
    await send("DELETE", { name: "a", namespace: null });
    expect(asked).to.deep.equal([
      ["remove", { name: "a", namespace: "one" }],
      ["remove", { name: "a", namespace: "two" }],
      ["remove", { name: "a", namespace: "openfaas-fn" }],
    ]);
  });

  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ["no JSON", canary, /^the request body must be JSON\n$/],
    ["JSON that breaks off", `{"value":"${canary}`, /^the request body must be JSON\n$/],
    ["a text", JSON.stringify(canary), /must be a JSON object/],
    ["a list", [canary], /must be a JSON object/],
    ["no name", { value: canary }, /^name must be/],
    ["a name with a slash", { name: "a/b", value: canary }, /^name must be .*got "a\/b"/],
    ["a name that is a path", { name: "..", value: canary }, /^name must be/],
    ["a wrong namespace", { name: "a", namespace: "A.B", value: canary }, /^namespace must be/],
    ["a namespace that is a number", { name: "a", namespace: 7, value: canary }, /^namespace must be/],
    ["no value", { name: "a" }, /^value \(text\) or rawValue \(base64\) must be given/],
    ["empty values", { name: "a", value: "", rawValue: "" }, /must be given and not empty/],
    ["both values", { name: "a", value: canary, rawValue: raw(Buffer.from(canary)) }, /must not both be given/],
    ["a value that is a list", { name: "a", value: [canary] }, /^value must be a string/],
    ["half a surrogate pair", { name: "a", value: `${canary}\ud800` }, /^value must be text that UTF-8/],
    ["bytes that are no base64", { name: "a", rawValue: `${canary}!` }, /^rawValue must be base64/],
    ["base64 without its padding", { name: "a", rawValue: "YQ" }, /^rawValue must be base64/],
    ["a number as bytes", { name: "a", rawValue: 7 }, /^rawValue must be base64/],
    ["a byte too many", { name: "a", value: "x".repeat(maxSecretBytes + 1) }, /^value must have at most 1048576 bytes/],
    [
      "a raw byte too many",
      { name: "a", rawValue: raw(Buffer.alloc(maxSecretBytes + 1)) },
      /^rawValue must have at most 1048576 bytes; got 1048577/,
    ],
  ];
  for (const [what, body, says] of wrong)
    for (const method of ["POST", "PUT"])
      it(`${method} refuses ${what} with 400, names the field, and repeats no value`, async () => {
        const { status, code, text } = await send(method, body);
        expect([status, code]).to.deep.equal([400, "invalid_request"]);
        expect(text).to.match(says);
        expect(text).to.not.contain(canary);
        expect(asked).to.deep.equal([]);
      });

  it("refuses a body beyond all measure with 413, before it is read whole", async () => {
    expect((await send("POST", { name: "a", value: "x".repeat(8 * 1024 * 1024) })).status).to.equal(413);
  });

  for (const [code, status] of [
    ["secret_exists", 409],
    ["secret_in_use", 409],
    ["secret_not_found", 404],
    ["provider_unavailable", 503],
  ] as const)
    it(`answers ${status} for ${code}, as clients of OpenFaaS read it`, async () => {
      fails = new BuskerError(code, "so it is");
      for (const method of ["POST", "PUT", "DELETE"])
        expect(await send(method, { name: "a", value: "x" })).to.deep.equal({ status, code, text: "so it is\n" });
    });

  it("answers other methods with 405", async () => {
    expect((await send("PATCH", {})).status).to.equal(405);
  });
});
