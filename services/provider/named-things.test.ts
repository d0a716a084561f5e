import { expect } from "chai";
import { registrySecretAnnotation } from "../../schemas/annotations.ts";
import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionSpec } from "../../schemas/function.ts";
import { assertNamedThings, secretsOf } from "./named-things.ts";

const spec: FunctionSpec = { name: "fn", namespace: "dev", image: "ghcr.io/me/fn:1" };
const annotations = { [registrySecretAnnotation]: "registry" };

describe("secretsOf()", () => {
  const cases: readonly (readonly [Partial<FunctionSpec>, readonly string[]])[] = [
    [{}, []],
    [{ secrets: ["a", "b"] }, ["a", "b"]],
    [{ annotations }, ["registry"]],
    [{ secrets: ["a"], annotations }, ["a", "registry"]],
    [{ secrets: ["registry"], annotations }, ["registry"]],
  ];
  for (const [own, names] of cases)
    it(`gives ${JSON.stringify(names)} for ${JSON.stringify(own)}`, () =>
      expect(secretsOf({ ...spec, ...own })).to.deep.equal(names));
});

describe("assertNamedThings()", () => {
  const missing = async (own: Partial<FunctionSpec>, there: readonly string[]): Promise<unknown> =>
    assertNamedThings(
      { ...spec, ...own },
      {
        namespaces: {
          get: () => Promise.resolve({ key: "dev", revision: 1, value: { name: "dev", labels: {}, annotations: {} } }),
        },
        secrets: { has: ({ namespace, name }) => namespace === "dev" && there.includes(name) },
      },
    ).catch((error: unknown) => error);

  it("passes when the function's secrets and its registry's are there", async () =>
    expect(await missing({ secrets: ["a"], annotations }, ["a", "registry"])).to.equal(undefined));

  it("names the registry's secret too when it is missing", async () => {
    const error = await missing({ secrets: ["a"], annotations }, []);
    expect(error).to.be.instanceOf(BuskerError).with.property("code", "invalid_request");
    expect(error).to.have.property("message").that.contains('there is no secret "a", "registry" in namespace dev');
  });
});
