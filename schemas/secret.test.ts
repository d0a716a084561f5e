import { expect } from "chai";
import { checkSecretName, formatSecretName, isSecretName, parseSecretKey } from "./secret.ts";

const longest = "a".repeat(253);

describe("checkSecretName()", () => {
  for (const name of ["a", "7", "api-key", "API_KEY", "tls.crt", "a.b-c.d_e", longest])
    it(`takes ${name.slice(0, 20)}, because it can be a file and a key`, () => {
      expect(checkSecretName("name", name)).to.equal(name);
    });

  const bad = ["", ".", "..", "../x", "a/b", ".a", "a.", "a..b", "-a", "a-", "_a", "a b", "a\n", "é", "a*", ">"];
  for (const name of [...bad, `${longest}a`, "a".repeat(100_000), undefined, null, 7])
    it(`refuses ${JSON.stringify(name)?.slice(0, 20)} and names the field, the rule and the value`, () => {
      expect(isSecretName(name)).to.equal(false);
      expect(() => checkSecretName("name", name)).to.throw(/^name must be 1 to 253 characters of .*; got /);
    });
});

describe("parseSecretKey()", () => {
  it("gives back what formatSecretName() joined, because only names have dots", () => {
    const secret = { namespace: "openfaas-fn", name: "tls.crt" };
    expect(formatSecretName(secret)).to.equal("tls.crt.openfaas-fn");
    expect(parseSecretKey("tls.crt.openfaas-fn")).to.deep.equal(secret);
  });
});
