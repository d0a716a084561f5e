import { errorCatalogue } from "../../schemas/errors.ts";
import type { JsonSchema } from "../../schemas/json-schema.ts";
import { isSubjectMatch, platformAnyFilter } from "../../schemas/subjects.ts";
import {
  buckets,
  maxHeaderBytes,
  maxPayloadBytes,
  stores,
  type StreamDefinition,
  streams,
} from "../../schemas/topology.ts";
import { type Channel, channels, toAddress } from "./channels.ts";
import { headerSchemas, messages, payloadSchemas } from "./messages.ts";
import { allRights, usersOf } from "./rights.ts";

const parameters: Readonly<Record<string, string>> = {
  namespace: "Namespace of the function: a DNS label",
  function: "Name of the function: a DNS label",
  replica: "Id of the replica: 1 to 128 of A-Z, a-z, 0-9, _ and -",
  callId: "Id of the call: 1 to 128 of A-Z, a-z, 0-9, _ and -",
  user: "User of the platform, or a replica's id",
  connection: "One connection of that user",
  stream: "Id of the kept answer: 32 of 0-9 and a-f",
  token: "Which expected answer it is",
  state: "What became of the invocation",
};

// A state where the address has the parameter: any of them will do to find the stream.
const sampleOf = ({ subject, states }: Channel): string =>
  subject.replace("{state}", states?.[0] ?? "").replace("{token}", "token");

const streamOf = (channel: Channel): StreamDefinition | undefined =>
  Object.values<StreamDefinition>(streams).find(({ subjects }) =>
    subjects.some((filter) => isSubjectMatch(filter, sampleOf(channel))),
  );

const parametersOf = (channel: Channel): JsonSchema =>
  Object.fromEntries(
    [...toAddress(channel.subject).matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => [
      name,
      { description: parameters[name] ?? "", ...(name === "state" && channel.states ? { enum: channel.states } : {}) },
    ]),
  );

const messageRef = (name: string): JsonSchema => ({ $ref: `#/components/messages/${name}` });

const toChannel = (channel: Channel): JsonSchema => ({
  address: toAddress(channel.subject),
  description: channel.description,
  parameters: parametersOf(channel),
  messages: Object.fromEntries(channel.messages.map((name) => [name, messageRef(name)])),
  "x-stream": streamOf(channel)?.name ?? null,
  "x-code": Object.fromEntries(
    Object.entries(channel.code).map(([name, value]) => [name, typeof value === "string" ? toAddress(value) : value]),
  ),
});

const channelMessages = (channel: string, names: readonly string[]): readonly JsonSchema[] =>
  names.map((name) => ({ $ref: `#/channels/${channel}/messages/${name}` }));

const toOperations = (name: string, channel: Channel): readonly (readonly [string, JsonSchema])[] => {
  const users = usersOf(sampleOf(channel));
  const common = { channel: { $ref: `#/channels/${name}` }, messages: channelMessages(name, channel.messages) };
  const reply = channel.reply && {
    reply: {
      channel: { $ref: `#/channels/${channel.reply.channel}` },
      messages: channelMessages(channel.reply.channel, channel.reply.messages),
    },
  };
  const queue = channel.queue === undefined ? {} : { bindings: { nats: { queue: channel.queue } } };
  return [
    [`send.${name}`, { action: "send", ...common, ...reply, "x-users": users.publish }],
    [`receive.${name}`, { action: "receive", ...common, ...reply, ...queue, "x-users": users.subscribe }],
  ];
};

const mapEntries = <T, R>(record: Readonly<Record<string, T>>, to: (value: T, key: string) => R): Record<string, R> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value, key)]));

const bucketValues: Readonly<Record<string, JsonSchema>> = {
  functions: { $ref: "#/components/schemas/FunctionRecord" },
  status: { $ref: "#/components/schemas/FunctionStatusRecord" },
  secrets: { $ref: "#/components/schemas/SecretRecord" },
};

const jetStream = {
  streams,
  buckets: mapEntries(buckets, (bucket) => ({
    ...bucket,
    subjects: `$KV.${bucket.name}.>`,
    stream: `KV_${bucket.name}`,
    ...(bucketValues[bucket.name] ? { value: bucketValues[bucket.name] } : {}),
  })),
  stores: mapEntries(stores, (store) => ({ ...store, subjects: `$O.${store.name}.>`, stream: `OBJ_${store.name}` })),
};

const description = `Busker runs functions on demand. Every operation is a CloudEvent on NATS.

Messages are CloudEvents 1.0 by the NATS protocol binding: in binary mode each attribute is a header ce-<name> with its
value percent-encoded (ce-datacontenttype included) and the payload is the data; in structured mode, told by a
Content-Type that starts with application/cloudevents, the payload is the whole event as JSON. Both are taken
everywhere; the platform itself publishes in binary mode. There are no batches. Anyone may publish: what CloudEvents
requires and a sender leaves out is filled in where the event enters.

A caller binds a call to a free slot of a replica (invokeReplica) and learns of each replica's load from every reply.
When no slot is free it waits, leaves reservations on replicaControl, and is offered a slot on its reply subject. When
no replica is ready it publishes demand. Plain clients use invoke, in whose queue group every ready replica stands; a
full one passes the call on. No stream captures invoke: its interest would answer for missing replicas and hide that
there are no responders.

A service answers only on reply subjects of the forms of callReply, answer and plainReply, because the sender chooses
them and has fewer rights than the service.

No message holds the value of a secret. The gateway seals it for the key in the provider's data folder, and asks the
provider to keep it; the requests are kept by no stream, what was done is kept without even the sealed value.

Generated from schemas/ by npm run asyncapi; a test keeps it equal to the code.
`;

/** The whole document as plain data. */
export const createDocument = (version: string): JsonSchema => ({
  asyncapi: "3.0.0",
  id: "urn:busker:bus",
  info: { title: "The bus of Busker", version, description, license: { name: "MIT" } },
  defaultContentType: "application/json",
  servers: {
    nats: {
      host: "127.0.0.1:4222",
      protocol: "nats",
      description: "nats-server 2.9.10 or newer with JetStream, in operator mode (nats.conf)",
      security: [{ $ref: "#/components/securitySchemes/credentials" }],
    },
  },
  channels: mapEntries(channels, toChannel),
  operations: Object.fromEntries(Object.entries(channels).flatMap(([name, channel]) => toOperations(name, channel))),
  components: {
    schemas: { ...headerSchemas, ...payloadSchemas },
    messages,
    securitySchemes: {
      credentials: {
        type: "asymmetricEncryption",
        description:
          "A NATS creds file: a user JWT, signed by the account's key, and the nkey that proves it. The JWT holds what " +
          "the user may publish and subscribe to (x-rights); each function's is minted by the provider and short-lived",
      },
    },
  },
  "x-jetstream": jetStream,
  "x-limits": { maxPayloadBytes, maxHeaderBytes },
  "x-errors": errorCatalogue,
  "x-rights": allRights,
  "x-everything": platformAnyFilter,
});
