import { expect } from "chai";
import { compileSchema } from "./fixtures/compile-schema.ts";
import { eventExamples } from "./event-examples.ts";
import { type EventType, eventSchemas, functionEventType, replicaEventType, secretEventType } from "./events.ts";
import { closeSchema, mutate, requireAll } from "./fixtures/schema-mutations.ts";
import { functionDeploymentSchema } from "./function-schema.ts";
import {
  outcomeOf,
  outcomeVerbs,
  replicaStates,
  secretOutcomeVerbs,
  secretRequestVerbs,
  wishVerbs,
} from "./subjects.ts";

const types = Object.keys(eventExamples) as readonly EventType[];

describe("eventSchemas", () => {
  it("have one schema for each type of event and no more", () => {
    expect(Object.keys(eventSchemas).toSorted()).to.deep.equal([...types].toSorted());
  });

  it("have a type for every verb and state that has a subject", () => {
    const named = [
      ...[...wishVerbs, ...outcomeVerbs].map(functionEventType),
      ...replicaStates.map(replicaEventType),
      ...[...secretRequestVerbs, ...secretOutcomeVerbs].map(secretEventType),
    ];
    for (const type of named) expect(eventSchemas, type).to.have.property(type);
  });

  it("have an outcome for every wish", () => {
    for (const verb of wishVerbs) expect(eventSchemas).to.have.property(functionEventType(outcomeOf[verb]));
  });

  for (const type of types) {
    const schema = eventSchemas[type];
    const { full, bare } = eventExamples[type];

    it(`take the examples of ${type}, with everything and with nothing optional`, () => {
      const check = compileSchema(schema);
      expect(check(full)).to.equal("");
      expect(check(bare)).to.equal("");
    });

    it(`know every property that TypeScript knows of ${type}, and no other`, () => {
      expect(compileSchema(closeSchema(schema))(full), "a property that the schema lacks").to.equal("");
      expect(compileSchema(requireAll(schema))(full), "a property that the type lacks").to.equal("");
    });

    it(`require of ${type} what its type requires`, () => {
      const required = (schema["required"] ?? []) as readonly string[];
      expect([...required].toSorted()).to.deep.equal(Object.keys(bare).toSorted());
    });

    it(`take ${type} with a property of a later version, so that events can grow`, () => {
      expect(compileSchema(schema)({ ...full, later: true })).to.equal("");
    });

    it(`refuse every broken example of ${type}`, () => {
      const check = compileSchema(schema);
      const mutations = mutate(full, schema);
      expect(mutations.length).to.be.greaterThan(2);
      for (const { what, value } of mutations) expect(check(value), what).to.not.equal("");
    });
  }
});

describe("functionDeploymentSchema", () => {
  const check = compileSchema(functionDeploymentSchema);

  it("takes what OpenFaaS's own client sends, null where Go has nothing", () => {
    const deployment = {
      service: "fn",
      image: "i",
      namespace: "",
      envProcess: null,
      labels: null,
      limits: null,
      secrets: ["a"],
    };
    expect(check(deployment)).to.equal("");
  });

  for (const [what, value] of [
    ["no service", { image: "i" }],
    ["no image", { service: "fn" }],
    ["an empty image", { service: "fn", image: "" }],
    ["a number as environment value", { service: "fn", image: "i", envVars: { a: 1 } }],
    ["a string as labels", { service: "fn", image: "i", labels: "a=b" }],
    ["a list", []],
  ] as const)
    it(`refuses ${what}`, () => expect(check(value)).to.not.equal(""));
});
