import { expect } from "chai";
import { onFailureAnnotation, onSuccessAnnotation } from "../../../schemas/annotations.ts";
import { recordStates } from "../../../schemas/call.ts";
import { outcomeTargets } from "./outcome-targets.ts";

const callbackUrl = "https://example.com/told";
const url = { kind: "url", url: callbackUrl } as const;
const annotations = { [onSuccessAnnotation]: "next", [onFailureAnnotation]: "nats:ops.failed" };
const next = { kind: "function", function: { namespace: "openfaas-fn", name: "next" } } as const;
const failed = { kind: "subject", subject: "ops.failed" } as const;

describe("outcomeTargets()", () => {
  for (const [what, state, spec, wanted] of [
    ["the callback and on-success of one that succeeded", "succeeded", { annotations }, [url, next]],
    ["the callback and on-failure of a dead one", "dead", { annotations }, [url, failed]],
    ["the callback of a function that is gone", "dead", undefined, [url]],
    ["nobody of a cancelled one", "cancelled", { annotations }, []],
    ["nobody by an annotation that cannot be read", "dead", { annotations: { [onFailureAnnotation]: "A B" } }, [url]],
    ["a URL once that stands in both", "succeeded", { annotations: { [onSuccessAnnotation]: callbackUrl } }, [url]],
  ] as const)
    it(`gives ${what}`, () => expect(outcomeTargets({ state, callbackUrl }, spec)).to.deep.equal(wanted));

  it("gives nobody before the end", () => {
    for (const state of recordStates.filter((each) => each !== "succeeded" && each !== "dead"))
      expect(outcomeTargets({ state, callbackUrl }, { annotations }), state).to.deep.equal([]);
  });

  it("gives nobody where nobody is named", () => expect(outcomeTargets({ state: "succeeded" }, {})).to.deep.equal([]));
});
