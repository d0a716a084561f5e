import { expect } from "chai";
import type { FunctionStatusRecord } from "../../schemas/function.ts";
import type { FunctionEntry } from "./directory.ts";
import { viewFunction } from "./function-view.ts";

const createdAt = "2026-01-01T00:00:00.000Z";

const entryOf = (more: object, replicas: number): FunctionEntry => ({
  function: { namespace: "openfaas-fn", name: "f" },
  keepsEvents: false,
  timeoutMs: 60_000,
  record: {
    spec: { name: "f", namespace: "openfaas-fn", image: "i", ...more },
    replicas,
    revision: "r",
    createdAt,
    updatedAt: createdAt,
  },
});

const status = (...states: ("ready" | "starting")[]): FunctionStatusRecord => ({
  replicas: states.map((state, at) => ({ id: `r${at}`, state, revision: "r", since: createdAt })),
});

describe("viewFunction()", () => {
  it("leaves out counts of zero and empty maps, as Go's omitempty does (contract trap 13)", () => {
    expect(viewFunction(entryOf({ envVars: {}, limits: {} }, 0), undefined, 0)).to.have.all.keys(
      "name",
      "namespace",
      "image",
      "labels",
      "annotations",
      "createdAt",
      "replicaStates",
    );
  });

  it("counts ready replicas as available", () => {
    const view = viewFunction(entryOf({}, 3), status("ready", "starting", "ready"));
    expect(view).to.include({ replicas: 3, availableReplicas: 2 });
  });

  it("carries the label faas_function beside the user's own (contract trap 5)", () => {
    expect(viewFunction(entryOf({ labels: { a: "b" } }, 1), undefined)["labels"]).to.deep.equal({
      a: "b",
      faas_function: "f",
    });
  });

  it("echoes limits and secrets as they were sent (contract trap 4)", () => {
    const sent = { limits: { memory: "5Mi", cpu: "100m" }, secrets: ["b", "a"] };
    expect(viewFunction(entryOf(sent, 1), undefined)).to.deep.include(sent);
  });

  it("shows what of a wish is not done, because it would be ignored in silence", () => {
    const warnings = ["limits.cpu 1 is not enforced"];
    expect(viewFunction(entryOf({}, 1), { replicas: [], warnings })["warnings"]).to.deep.equal(warnings);
  });

  it("shows why a function does not run", () => {
    const problem = { message: "exit code 1", at: createdAt, failures: 3 };
    expect(viewFunction(entryOf({}, 1), { replicas: [], problem })["problem"]).to.deep.equal(problem);
  });
});
