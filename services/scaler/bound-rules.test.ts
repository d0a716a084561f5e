import { expect } from "chai";
import type { FunctionSpec } from "../../schemas/function.ts";
import { boundRules } from "./bound-rules.ts";

type Given = Pick<FunctionSpec, "labels" | "limits">;

const prefix = "com.openfaas.scale.";

describe("boundRules()", () => {
  const cases: readonly (readonly [what: string, spec: Given, cores: number | undefined, most: number | undefined])[] =
    [
      ["half a core for each", {}, 2, 4],
      ["what is left of half a core feeds none", {}, 1.7, 3],
      ["two, however few cores there are", {}, 0.5, 2],
      ["its limit, where that is less", { limits: { cpu: "100m" } }, 2, 20],
      ["half a core, where its limit is more", { limits: { cpu: "2" } }, 2, 4],
      ["the same with labels about zero, or of others", { labels: { [`${prefix}zero`]: "true", team: "a" } }, 2, 4],
      ["nothing while the cores are not known", {}, undefined, undefined],
      ["nothing with a target", { labels: { [`${prefix}target`]: "50" } }, 2, undefined],
      ["nothing with a proportion", { labels: { [`${prefix}target-proportion`]: "0.5" } }, 2, undefined],
      ["nothing with a type", { labels: { [`${prefix}type`]: "rps" } }, 2, undefined],
      ["nothing with a most", { labels: { [`${prefix}max`]: "20" } }, 2, undefined],
    ];
  for (const [what, spec, cores, most] of cases)
    it(`bounds the replicas for a rate by ${what}`, () => {
      expect(boundRules(spec, cores).mostByRate).to.equal(most);
    });

  it("leaves everything else as the labels say it", () => {
    expect(boundRules({ labels: { [`${prefix}min`]: "3", [`${prefix}zero`]: "true" } }, 8)).to.include({
      min: 3,
      max: 20,
      zero: true,
      mostByRate: 16,
    });
  });
});
