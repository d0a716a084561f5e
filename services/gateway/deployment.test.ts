import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { readDeployment } from "./deployment.ts";

const refusal = (body: unknown, namespace?: string): BuskerError => {
  try {
    readDeployment(body, namespace);
  } catch (error) {
    if (error instanceof BuskerError) return error;
    throw error;
  }
  throw new Error("the deployment was accepted");
};

describe("readDeployment()", () => {
  it("keeps every field as it was sent, because clients compare", () => {
    const body = {
      service: "f",
      image: "bundle:sha256:abc",
      namespace: "dev",
      envProcess: "cat",
      envVars: { a: "1" },
      constraints: ["node.role == worker"],
      secrets: ["b", "a"],
      labels: { l: "x" },
      annotations: { n: "y" },
      limits: { memory: "5Mi", cpu: "100m" },
      requests: { memory: "1Mi" },
      readOnlyRootFilesystem: true,
    };
    const { service, ...rest } = body;
    expect(readDeployment(body, undefined)).to.deep.equal({ name: service, ...rest });
  });

  it("ignores fields of older clients and takes nulls as absent, because Go clients send them", () => {
    const body = {
      service: "f",
      image: "i",
      registryAuth: "x",
      network: "y",
      envVars: null,
      limits: null,
      labels: null,
    };
    expect(readDeployment(body, undefined)).to.deep.equal({ name: "f", namespace: "openfaas-fn", image: "i" });
  });

  it("takes the namespace of the query when the body has none", () => {
    expect(readDeployment({ service: "f", image: "i" }, "dev").namespace).to.equal("dev");
  });

  const refused: readonly (readonly [string, unknown, readonly string[]])[] = [
    ["no object", [], ["object"]],
    ["a missing image", { service: "f" }, ["image"]],
    ["a missing name", { image: "i" }, ["service"]],
    ["a name with capitals", { service: "Echo", image: "i" }, ["service", '"Echo"', "a-z"]],
    ["a name with a dot", { service: "a.b", image: "i" }, ["service"]],
    ["a name of 64 characters", { service: "a".repeat(64), image: "i" }, ["service", "63"]],
    ["a namespace with a wildcard", { service: "f", image: "i", namespace: "*" }, ["namespace"]],
    ["a number as environment value", { service: "f", image: "i", envVars: { A: 1 } }, ["envVars.A", "string"]],
    ["a text as labels", { service: "f", image: "i", labels: "x" }, ["labels", "object"]],
    ["a number among secrets", { service: "f", image: "i", secrets: ["a", 2] }, ["secrets.1", "string"]],
    ["a number as memory", { service: "f", image: "i", limits: { memory: 5 } }, ["limits.memory", "string"]],
    ["several faults at once", { service: "f", image: 1, labels: 2 }, ["image", "labels"]],
  ];
  for (const [title, body, named] of refused)
    it(`refuses ${title} and names it`, () => {
      const error = refusal(body);
      expect(error.code).to.equal("invalid_request");
      for (const part of named) expect(error.message).to.include(part);
    });
});
