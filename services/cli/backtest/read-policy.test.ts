import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readPolicy } from "./read-policy.ts";

describe("readPolicy()", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "busker-policy-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const fileOf = (content: string): string => {
    const file = join(folder, "policy.yaml");
    writeFileSync(file, content);
    return file;
  };

  it("takes labels, whole or by what follows scale", () =>
    expect(readPolicy("zero=true, zero-duration=5m,com.openfaas.scale.max=7,down.window=1m")).to.deep.equal({
      "com.openfaas.scale.zero": "true",
      "com.openfaas.scale.zero-duration": "5m",
      "com.openfaas.scale.max": "7",
      "com.openfaas.scale.down.window": "1m",
    }));

  it("takes several types, and our own label", () =>
    expect(readPolicy("type=rps,capacity,forecast=true")).to.deep.equal({
      "com.openfaas.scale.type": "rps,capacity",
      "com.busker.scale.forecast": "true",
    }));

  for (const content of [
    "max: 7\nzero: true\n",
    "fprocess: cat\nlabels:\n  com.openfaas.scale.max: 7\n  zero: true\n  team.name: a\n",
  ])
    it(`takes a file: ${JSON.stringify(content)}`, () =>
      expect(readPolicy(fileOf(content))).to.deep.equal({
        "com.openfaas.scale.max": "7",
        "com.openfaas.scale.zero": "true",
      }));

  const refused: readonly (readonly [string, RegExp])[] = [
    ["maximum=7", /"maximum" is no label of scaling; those are com\.openfaas\.scale\.min, /],
    ["max=many", /label com\.openfaas\.scale\.max must be a whole number .*got "many"/],
    ["min=5,max=3", /com\.openfaas\.scale\.max must be at least/],
    ["/nowhere/policy.yaml", /cannot read the policy \/nowhere\/policy\.yaml: ENOENT/],
    [",=", /a policy must be a file, or labels as key=value/],
  ];
  for (const [text, message] of refused)
    it(`refuses ${JSON.stringify(text)}, naming what is wrong`, () => expect(() => readPolicy(text)).to.throw(message));

  it("refuses a file that is no map", () =>
    expect(() => readPolicy(fileOf("- max\n"))).to.throw(/must be a map from labels to values/));
});
