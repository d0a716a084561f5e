import { Parser } from "@asyncapi/parser";
import { expect } from "chai";
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { toAddress } from "../scripts/asyncapi/channels.ts";
import { asyncapiFile, renderAsyncapi } from "../scripts/asyncapi/write-asyncapi.ts";
import { platformPermissions } from "../services/bus/permissions.ts";
import { compileSchema } from "./fixtures/compile-schema.ts";
import { errorCatalogue } from "./errors.ts";
import { type EventType, eventSchemas, invokeType, replyType } from "./events.ts";
import { wireHeaders } from "./invocation.ts";
import type { JsonSchema } from "./json-schema.ts";
import * as subjects from "./subjects.ts";
import { buckets, stores, type StreamDefinition, streams } from "./topology.ts";
import { controlSchemas, wireSchemas } from "./wire-schemas.ts";

interface Channel {
  readonly address: string;
  readonly messages: Readonly<Record<string, unknown>>;
  readonly parameters: Readonly<Record<string, { readonly enum?: readonly string[] }>>;
  readonly "x-stream": string | null;
  readonly "x-code": Readonly<Record<string, string>>;
}

interface Message {
  readonly name: string;
  readonly headers?: JsonSchema;
  readonly examples?: readonly { readonly headers: unknown; readonly payload: unknown }[];
}

interface Document {
  readonly channels: Readonly<Record<string, Channel>>;
  readonly operations: Readonly<Record<string, { readonly "x-users": readonly string[]; readonly bindings?: unknown }>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly messages: Readonly<Record<string, Message>>;
  };
  readonly "x-jetstream": Readonly<Record<"streams" | "buckets" | "stores", Readonly<Record<string, unknown>>>>;
  readonly "x-errors": unknown;
  readonly "x-rights": Readonly<Record<string, unknown>>;
}

const text = readFileSync(asyncapiFile, "utf8");
const document = parse(text) as Document;
const channels = Object.values(document.channels);

describe("asyncapi.yaml", () => {
  it("is what npm run asyncapi writes, so that it says what the code does", () => {
    expect(text === renderAsyncapi(), "run: npm run asyncapi").to.equal(true);
  });

  it("is valid AsyncAPI 3.0, without a complaint of its parser", async function () {
    this.timeout(60_000);
    const diagnostics = await new Parser().validate(text);
    const complaints = diagnostics.filter(({ severity }) => severity <= 1);
    expect(complaints.map(({ message, path }) => `${path.join(".")}: ${message}`)).to.deep.equal([]);
    expect(document).to.have.property("asyncapi", "3.0.0");
  });

  for (const [what, good, bad] of [
    ["an action that is none", "action: send", "action: shout"],
    ["a reference to nothing", "#/components/messages/reply", "#/components/messages/nothing"],
  ] as const)
    it(`is refused by the parser with ${what}, so that the test above means something`, async function () {
      this.timeout(60_000);
      const diagnostics = await new Parser().validate(text.replace(good, bad));
      expect(diagnostics.filter(({ severity }) => severity === 0)).to.not.deep.equal([]);
    });

  it("has every function and constant of subjects.ts that makes a subject or a filter", () => {
    const named = new Set(channels.flatMap((channel) => Object.keys(channel["x-code"])));
    const exported = Object.keys(subjects).filter((name) => /(Subject|Filters?|Prefix|Group)$/.test(name));
    const helpers = [
      "parseReplicaSubject",
      "parseFunctionSubject",
      "parseQueueSubject",
      "parseMetricSubject",
      "parseSpanSubject",
      "parsePartsSubject",
      "isReplySubject",
      "isAnswerSubject",
      "platformAnyFilter",
    ];
    expect(exported.filter((name) => !named.has(name) && !helpers.includes(name))).to.deep.equal([]);
    expect([...named].filter((name) => !exported.includes(name))).to.deep.equal([]);
    expect(document).to.have.property("x-everything", subjects.platformAnyFilter);
  });

  it("has every type of event as a message on a channel, with its schema", () => {
    for (const type of Object.keys(eventSchemas)) {
      expect(document.components.schemas[type], type).to.deep.equal(
        JSON.parse(JSON.stringify(eventSchemas[type as EventType])),
      );
      expect(
        channels.filter(({ messages }) => type in messages),
        type,
      ).to.have.length(1);
    }
    const names = Object.values(document.components.messages).map(({ name }) => name);
    expect(names).to.include.members([
      invokeType,
      replyType,
      ...Object.keys(controlSchemas).map((kind) => `control.${kind}`),
    ]);
  });

  it("has no message that no channel carries", () => {
    const carried = new Set(channels.flatMap(({ messages }) => Object.keys(messages)));
    expect(Object.keys(document.components.messages).filter((name) => !carried.has(name))).to.deep.equal([]);
  });

  it("has every verb and every state", () => {
    const addresses = channels.map(({ address }) => address);
    for (const verb of [...subjects.wishVerbs, ...subjects.outcomeVerbs])
      expect(addresses).to.include(`busker.function.${verb}.{namespace}.{function}`);
    for (const verb of [...subjects.secretRequestVerbs, ...subjects.secretOutcomeVerbs])
      expect(addresses).to.include(`busker.secret.${verb}.{namespace}`);
    for (const state of subjects.replicaStates)
      expect(addresses).to.include(`busker.replica.${state}.{namespace}.{function}.{replica}`);
    for (const state of subjects.callStates)
      expect(addresses).to.include(`busker.call.${state}.{namespace}.{function}`);
    for (const priority of subjects.priorities)
      expect(addresses).to.include(`busker.queue.{namespace}.{function}.${priority}`);
  });

  it("has every stream, bucket and store as topology.ts has them", () => {
    const { streams: inStreams, buckets: inBuckets, stores: inStores } = document["x-jetstream"];
    expect(inStreams).to.deep.equal(JSON.parse(JSON.stringify(streams)));
    for (const definition of Object.values(buckets)) expect(inBuckets[definition.name]).to.deep.include(definition);
    for (const definition of Object.values(stores)) expect(inStores[definition.name]).to.deep.include(definition);
    expect([inBuckets, inStores].map((each) => Object.keys(each).length)).to.deep.equal([
      Object.keys(buckets).length,
      Object.keys(stores).length,
    ]);
  });

  it("says of every channel which stream keeps it, and every stream keeps one", () => {
    const kept = new Set(channels.map((channel) => channel["x-stream"]).filter((name) => name !== null));
    expect([...kept].toSorted()).to.deep.equal(Object.keys(streams).toSorted());
    for (const channel of channels) {
      const subject = channel.address.replace("{state}", "started").replaceAll(/\{\w+\}/g, "x");
      const keeping = Object.values<StreamDefinition>(streams).filter((stream) =>
        stream.subjects.some((filter) => subjects.isSubjectMatch(filter, subject)),
      );
      expect(
        keeping.map(({ name }) => name),
        channel.address,
      ).to.deep.equal(channel["x-stream"] === null ? [] : [channel["x-stream"]]);
    }
  });

  it("has every header of the invocation's wire protocol, every head and every code of the catalogue", () => {
    const { InvocationHeaders, ReplyHeaders, KeptFrameHeaders, PartHeaders, RecordHeaders } =
      document.components.schemas;
    const properties = {
      ...(InvocationHeaders?.["properties"] as object),
      ...(ReplyHeaders?.["properties"] as object),
      ...(KeptFrameHeaders?.["properties"] as object),
      ...(PartHeaders?.["properties"] as object),
      ...(RecordHeaders?.["properties"] as object),
    };
    expect(properties).to.include.keys(...Object.values(wireHeaders));
    expect(document.components.schemas).to.include.keys(...Object.keys(wireSchemas));
    expect(document["x-errors"]).to.deep.equal(errorCatalogue);
  });

  it("has examples that are valid by its own schemas, headers and payload", () => {
    const headersOf = compileSchema(document.components.schemas["CloudEventHeaders"] ?? {});
    for (const type of Object.keys(eventSchemas)) {
      const { examples = [] } = document.components.messages[type] ?? {};
      expect(examples, type).to.have.length(2);
      for (const { headers, payload } of examples) {
        expect(headersOf(headers), type).to.equal("");
        expect(compileSchema(document.components.schemas[type] ?? {})(payload), type).to.equal("");
      }
    }
  });

  it("has the rights of every user, and says who may do what from the same rules", () => {
    expect(Object.keys(document["x-rights"])).to.have.members([
      ...Object.keys(platformPermissions),
      "replica",
      "enrolling",
    ]);
    const users = (operation: string) => document.operations[operation]?.["x-users"];
    expect(users("send.invoke")).to.have.members([
      "gateway",
      "provider",
      "queue-worker",
      "triggers",
      "admin",
      "invoke",
      "replica",
    ]);
    expect(users("receive.invoke")).to.have.members(["provider", "admin", "replica"]);
    expect(users("send.function.deploy")).to.have.members(["gateway", "provider", "admin"]);
    expect(users("send.secret.create")).to.have.members(["gateway", "provider", "admin"]);
    expect(users("send.secret.created")).to.have.members(["provider", "admin"]);
    expect(users("send.answer")).to.have.members(["provider", "scaler", "admin"]);
    expect(users("send.explain")).to.have.members(["gateway", "provider", "admin"]);
    expect(users("receive.explain")).to.have.members(["provider", "scaler", "admin"]);
    expect(users("send.enrol")).to.have.members(["provider", "admin", "enrolling"]);
    expect(users("receive.enrol")).to.have.members(["provider", "admin"]);
    expect(users("send.bundle")).to.have.members(["provider", "admin", "enrolling"]);
    expect(users("receive.plainReply")).to.have.members(["admin", "invoke"]);
    expect(users("receive.callReply")).to.include.members(["gateway", "queue-worker", "triggers", "replica"]);
    expect(document.operations["receive.invoke"]?.bindings).to.deep.equal({
      nats: { queue: subjects.replicaQueueGroup },
    });
  });
});

describe("toAddress()", () => {
  it("leaves no stand-in behind in the document", () =>
    expect(text).to.not.match(/\bp-(namespace|function|replica|call|user|connection|stream)\b/));

  it("puts parameters where the stand-ins were", () => {
    expect(toAddress(subjects.invokeSubject("p-namespace", "p-function"))).to.equal(
      "busker.invoke.{namespace}.{function}",
    );
  });
});
