import { expect } from "chai";
import { CloudEvent } from "cloudevents";
import { headers as createHeaders, type Msg } from "nats";
import { collect } from "../../test/support/collector.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { fromCloudEvent, toCloudEvent } from "./cloud-events-sdk.ts";
import {
  complete,
  decodeAttribute,
  encodeAttribute,
  fromMessage,
  fromStructured,
  toBinaryMessage,
  toStructuredMessage,
  type WireEvent,
  type WireMessage,
} from "./cloud-events.ts";
import { type Bus, openBus } from "./connection.ts";
import { headerPairs, headerText } from "./headers.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
const wire = (attributes: Record<string, string>, data: string | Uint8Array = ""): WireEvent => ({
  attributes,
  data: Buffer.from(data),
});
const headerBlock = ({ headers }: WireMessage): string =>
  text((headers as unknown as { encode: () => Uint8Array }).encode());
const structured = (value: unknown): WireEvent => fromStructured(Buffer.from(JSON.stringify(value)));

// The spec's own example attributes (json-format.md 3.2), and what binary mode makes of them.
const example = {
  specversion: "1.0",
  type: "com.example.someevent",
  source: "/mycontext",
  time: "2018-04-05T17:31:00Z",
  comexampleextension1: "value",
};

describe("encodeAttribute() and decodeAttribute()", () => {
  const cases: readonly (readonly [string, string])[] = [
    // NATS binding 3.1.3.2 and HTTP binding 3.1.3.2.
    ["Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"],
    ["1234-1234-1234", "1234-1234-1234"],
    ["/mycontext/subcontext", "/mycontext/subcontext"],
    [" ", "%20"],
    ['"', "%22"],
    ["%", "%25"],
    ["100%25", "100%2525"],
    ["!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"],
    ["a\r\nNats-Rollup: all", "a%0D%0ANats-Rollup:%20all"],
    ["\u0000\u007f\u0080\u00a0", "%00%7F%C2%80%C2%A0"],
    ["", ""],
  ];
  for (const [plain, encoded] of cases)
    it(`write ${JSON.stringify(plain)} as ${encoded} and read it back, as the binding asks`, () => {
      expect(encodeAttribute(plain)).to.equal(encoded);
      expect(decodeAttribute(encoded)).to.equal(plain);
    });

  const received: readonly (readonly [string, string, string])[] = [
    ["%e2%82%ac", "€", "lower case must be accepted"],
    ["%41%42c", "ABc", "what was encoded without need must be accepted"],
    ['"Euro € 😀"', "Euro € 😀", "older senders quote"],
    ['"say \\"hi\\" \\\\ %41"', 'say "hi" \\ A', "quotes and backslashes are undone first, then one round of decoding"],
    ["%2541", "%41", "decoding is one round"],
    ["100%", "100%", "a lone percent sign is itself"],
    ["%zz", "%zz", "what is no encoding is itself"],
  ];
  for (const [value, plain, why] of received)
    it(`read ${value} as ${plain}, because ${why}`, () => expect(decodeAttribute(value)).to.equal(plain));

  for (const value of ["%C0%A0", "%ff", "%E2%82", "%ED%A0%80"])
    it(`reject ${value}, because bytes that are not UTF-8 must be rejected`, () => {
      expect(() => decodeAttribute(value))
        .to.throw()
        .with.property("code", "invalid_request");
    });

  for (const value of ["\ud800", "a\udc00b"])
    it(`reject the lone surrogate ${JSON.stringify(value)}, because it has no UTF-8`, () => {
      expect(() => encodeAttribute(value))
        .to.throw()
        .with.property("code", "invalid_request");
    });
});

describe("toBinaryMessage()", () => {
  it("writes the NATS binding's example, datacontenttype among the ce- headers", () => {
    const event = wire(
      {
        specversion: "1.0",
        type: "com.example.someevent",
        time: "2018-04-05T03:56:24Z",
        id: "1234-1234-1234",
        source: "/mycontext/subcontext",
        datacontenttype: "application/json",
      },
      "{}",
    );
    const message = toBinaryMessage(event);
    expect(headerBlock(message)).to.equal(
      "NATS/1.0\r\nce-specversion: 1.0\r\nce-type: com.example.someevent\r\nce-time: 2018-04-05T03:56:24Z\r\n" +
        "ce-id: 1234-1234-1234\r\nce-source: /mycontext/subcontext\r\nce-datacontenttype: application/json\r\n\r\n",
    );
    expect(text(message.payload)).to.equal("{}");
  });

  for (const name of ["a\r\nNats-Rollup", "A", "a-b", "", "a b", "é", "data"])
    it(`rejects the attribute name ${JSON.stringify(name)}, so that none becomes another header`, () => {
      expect(() => toBinaryMessage(wire({ [name]: "x" })))
        .to.throw()
        .with.property("code", "invalid_request");
    });

  it("keeps a value from adding headers, whatever stands in it", () => {
    const hostile = "a\r\nNats-Rollup: all\r\n\r\nNATS/1.0\r\nb: c\n\rd";
    const block = headerBlock(toBinaryMessage(wire({ id: hostile })));
    expect(headerPairs(block)).to.deep.equal(["ce-id", encodeAttribute(hostile)]);
  });
});

describe("fromStructured()", () => {
  it("reads the JSON format's example with binary data", () => {
    const event = structured({
      ...example,
      id: "A234",
      datacontenttype: "application/vnd.apache.thrift.binary",
      data_base64: "AAH/",
    });
    expect(event.attributes).to.deep.equal({
      ...example,
      id: "A234",
      datacontenttype: "application/vnd.apache.thrift.binary",
    });
    expect([...event.data]).to.deep.equal([0, 1, 255]);
  });

  it("reads the JSON format's example with XML as text, an integer and an unset extension", () => {
    const event = structured({
      ...example,
      comexampleothervalue: 5,
      unsetextension: null,
      datacontenttype: "application/xml",
      data: '<much wow="xml"/>',
    });
    expect(event.attributes).to.deep.equal({
      ...example,
      comexampleothervalue: "5",
      datacontenttype: "application/xml",
    });
    expect(text(event.data)).to.equal('<much wow="xml"/>');
  });

  it("reads the JSON format's example with an object", () => {
    const data = { appinfoA: "abc", appinfoB: 123, appinfoC: true };
    const event = structured({ ...example, subject: null, datacontenttype: "application/json", data });
    expect(event.attributes).to.not.have.property("subject");
    expect(JSON.parse(text(event.data))).to.deep.equal(data);
  });

  it("reads the JSON format's example with a string and no type: still a JSON string, and the type is said from now on", () => {
    const event = structured({ ...example, data: "I'm just a string" });
    expect(event.attributes["datacontenttype"]).to.equal("application/json");
    expect(text(event.data)).to.equal('"I\'m just a string"');
  });

  const datas: readonly (readonly [unknown, string | undefined, string])[] = [
    [null, undefined, "null"],
    [false, undefined, "false"],
    [0, "application/json", "0"],
    ["", "application/json", '""'],
    ["x", "application/problem+json; charset=utf-8", '"x"'],
    ["x", "text/json", '"x"'],
    ["x", "application/json-seq", "x"],
    ["x", "application/jsonl", "x"],
    ["é", "text/plain", "é"],
  ];
  for (const [data, type, bytes] of datas)
    it(`reads the data ${JSON.stringify(data)} of type ${type ?? "none"} as ${bytes}`, () => {
      expect(text(structured({ data, ...(type === undefined ? {} : { datacontenttype: type }) }).data)).to.equal(bytes);
    });

  const malformed: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
    ["nothing", "", /must be JSON/],
    ["text", "hello", /must be JSON/],
    ["half an object", '{"id": "1"', /must be JSON/],
    ["a string", '"x"', /must be a JSON object; got "x"/],
    ["null", "null", /must be a JSON object/],
    ["a batch", "[{}]", /NATS has no batches/],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), /UTF-8/],
    ["both kinds of data", '{"data": 1, "data_base64": "AA=="}', /not both/],
    ["broken base64", '{"data_base64": "A"}', /base64/],
    ["base64 with spaces", '{"data_base64": "AA A="}', /base64/],
    ["base64 that is no string", '{"data_base64": 1}', /base64/],
    ["an attribute in upper case", '{"Id": "1"}', /a-z and 0-9; got "Id"/],
    ["a header as an attribute", '{"a\\r\\nNats-Rollup": "all"}', /a-z and 0-9/],
    ["a prototype as an attribute", '{"__proto__": {"id": "1"}}', /a-z and 0-9/],
    ["an object as an attribute", '{"extension": {}}', /extension is \{\}/],
    ["a list as an attribute", '{"id": ["1"]}', /id is \["1"\]/],
    ["a fraction as an attribute", '{"extension": 1.5}', /extension is 1.5/],
    ["an object as text", '{"datacontenttype": "text/plain", "data": {}}', /a string as data/],
    ["version 0.3", '{"specversion": "0.3", "id": "1"}', /specversion 1.0; got "0.3"/],
  ];
  for (const [what, payload, message] of malformed)
    it(`rejects ${what} as invalid_request, saying the rule`, () => {
      expect(() => fromStructured(Buffer.from(payload)))
        .to.throw(message)
        .with.property("code", "invalid_request");
    });
});

describe("toStructuredMessage()", () => {
  const members = (event: WireEvent): Record<string, unknown> =>
    JSON.parse(text(toStructuredMessage(event).payload)) as Record<string, unknown>;

  const cases: readonly (readonly [string, string | Uint8Array, string | undefined, Record<string, unknown>])[] = [
    ["JSON as a JSON value", '{"a":1}', "application/json", { data: { a: 1 } }],
    ["JSON of no type as a JSON value", "[1]", undefined, { data: [1] }],
    ["JSON's null as null", "null", "application/json", { data: null }],
    ["text as a string", "é", "text/plain", { data: "é" }],
    [
      "text that is not UTF-8 as base64, unharmed",
      Buffer.from([0xe9]),
      "text/plain; charset=latin1",
      { data_base64: "6Q==" },
    ],
    ["bytes as base64", Buffer.from([0, 255]), "image/png", { data_base64: "AP8=" }],
    ["what says it is JSON and is not as base64, unharmed", "{", "application/json", { data_base64: "ew==" }],
    ["a plain payload of no type as base64", "hello", undefined, { data_base64: "aGVsbG8=" }],
    ["no data as none", "", "application/json", {}],
  ];
  for (const [what, data, type, expected] of cases)
    it(`writes ${what}`, () => {
      const attributes = type === undefined ? {} : { datacontenttype: type };
      expect(members(wire(attributes, data))).to.deep.equal({ ...attributes, ...expected });
    });

  it("says that it is application/cloudevents+json", () => {
    expect(headerPairs(headerBlock(toStructuredMessage(wire({}))))).to.deep.equal([
      "Content-Type",
      "application/cloudevents+json; charset=utf-8",
    ]);
  });
});

describe("complete()", () => {
  it("fills in what is missing and keeps what is there, because anyone may publish", () => {
    const event = complete(wire({ id: "own", time: "t" }, "x"), { source: "/s", type: "t" });
    expect(event.attributes).to.deep.equal({ specversion: "1.0", id: "own", source: "/s", type: "t", time: "t" });
    expect(complete(wire({}), { source: "/s", type: "t" }).attributes["id"]).to.match(/^[0-9a-f-]{36}$/);
  });
});

describe("toCloudEvent()", () => {
  for (const missing of ["specversion", "id", "source", "type"] as const)
    it(`rejects an event without ${missing}, instead of inventing it as the SDK does`, () => {
      const { [missing]: _, ...others } = { ...example, id: "1" } as Record<string, string>;
      expect(() => toCloudEvent(wire(others)))
        .to.throw(`${missing} not given`)
        .with.property("code", "invalid_request");
    });

  for (const [what, more] of [
    ["a time that is none", { time: "yesterday" }],
    ["an empty subject", { subject: "" }],
    ["version 0.3", { specversion: "0.3" }],
    ["a dataschema that is no URI", { dataschema: "no uri" }],
  ] as const)
    it(`rejects ${what} as invalid_request`, () => {
      expect(() => toCloudEvent(wire({ ...example, id: "1", ...more })))
        .to.throw()
        .with.property("code", "invalid_request");
    });
});

describe("the NATS binding on a real server", () => {
  let nats: TestNats;
  let bus: Bus;
  const got = collect<Msg>();

  before(async () => {
    nats = await startTestNats();
    bus = await openBus({ url: nats.url, credentialsFile: nats.credsFile("admin"), user: "admin", name: "test" });
    bus.nc.subscribe("busker.test.event", { callback: (_, message) => got.push(message) });
    await bus.nc.flush();
  });

  after(async () => {
    await bus?.close();
    await nats?.stop();
  });

  const send = async (message: {
    readonly headers?: WireMessage["headers"];
    readonly payload: string | Uint8Array;
  }): Promise<Msg> => {
    const before = got.all.length;
    bus.nc.publish(
      "busker.test.event",
      message.payload,
      message.headers === undefined ? {} : { headers: message.headers },
    );
    const message_ = (await got.reach(before + 1)).at(-1);
    if (!message_) throw new Error("no message");
    return message_;
  };

  const events: readonly (readonly [string, CloudEvent<unknown>])[] = [
    ["an object", new CloudEvent<unknown>({ ...example, id: "1", data: { a: [1, "é", null] } })],
    [
      "text",
      new CloudEvent<unknown>({
        ...example,
        id: "2",
        datacontenttype: "text/plain; charset=utf-8",
        data: "Euro € 😀\r\n",
      }),
    ],
    [
      "bytes",
      new CloudEvent<unknown>({
        ...example,
        id: "3",
        datacontenttype: "image/png",
        data: Uint8Array.from([0, 13, 10, 255]),
      }),
    ],
    ["no data", new CloudEvent<unknown>({ ...example, id: "4" })],
    [
      "hostile attributes",
      new CloudEvent<unknown>({ ...example, id: 'a b "c" %41 €\t', subject: "x\r\nNats-Rollup: all", data: 1 }),
    ],
    [
      "extensions",
      new CloudEvent<unknown>({ ...example, id: "6", traceparent: "00-0af7-b7ad-01", flag: "true", data: false }),
    ],
    ["a fine time", new CloudEvent<unknown>({ ...example, id: "7", time: "2018-04-05T17:31:00.123456Z", data: "x" })],
  ];
  for (const [mode, write] of [
    ["binary", toBinaryMessage],
    ["structured", toStructuredMessage],
  ] as const)
    for (const [what, event] of events)
      it(`brings the SDK's CloudEvent with ${what} through in ${mode} mode`, async () => {
        const sent = fromCloudEvent(event);
        const message = await send(write(sent));
        const received = fromMessage(message);
        expect(received.attributes).to.deep.equal(sent.attributes);
        expect(text(received.data)).to.equal(text(sent.data));
        const back = toCloudEvent(received);
        for (const name of ["id", "source", "type", "specversion", "subject", "time"] as const)
          expect(back[name]).to.equal(event[name]);
        if (event.data instanceof Uint8Array) expect([...(back.data as Uint8Array)]).to.deep.equal([...event.data]);
        else expect(back.data).to.deep.equal(event.data);
        expect(message.headers?.has("Nats-Rollup") ?? false).to.equal(false);
      });

  it("turns one mode into the other and back without a difference", async () => {
    const event = fromCloudEvent(new CloudEvent<unknown>({ ...example, id: "1", subject: "é", data: { a: 1 } }));
    const once = fromMessage(await send(toStructuredMessage(fromMessage(await send(toBinaryMessage(event))))));
    expect(once.attributes).to.deep.equal(event.attributes);
    expect(text(once.data)).to.equal(text(event.data));
  });

  it("reads the headers that another client library writes, whatever their case", async () => {
    const headers = createHeaders();
    for (const [name, value] of [
      ["Ce-Id", "1"],
      ["CE-TYPE", "t"],
      ["ce-subject", "a%20b"],
      ["ce-not-an-attribute", "x"],
      ["Other", "y"],
    ])
      headers.append(name ?? "", value ?? "");
    const event = fromMessage(await send({ headers, payload: "x" }));
    expect(event.attributes).to.deep.equal({ id: "1", type: "t", subject: "a b" });
  });

  for (const [name, type] of [
    ["Content-Type", "application/cloudevents"],
    ["content-type", "application/cloudevents+json"],
    ["CONTENT-TYPE", "Application/CloudEvents+JSON;charset=UTF-8"],
  ] as const)
    it(`takes "${name}: ${type}" as structured, because case does not matter`, async () => {
      const headers = createHeaders();
      headers.append(name, type);
      expect(fromMessage(await send({ headers, payload: '{"id":"1"}' })).attributes).to.deep.equal({ id: "1" });
    });

  for (const [type, rule] of [
    ["application/cloudevents-batch+json", /no batches/],
    ["application/cloudevents+avro", /must be application\/cloudevents\+json; got "application\/cloudevents\+avro"/],
  ] as const)
    it(`refuses ${type} by the rule it breaks`, async () => {
      const headers = createHeaders();
      headers.append("Content-Type", type);
      const message = await send({ headers, payload: "[]" });
      expect(() => fromMessage(message))
        .to.throw(rule)
        .with.property("code", "invalid_request");
    });

  it("gives an event without attributes for a message without headers: a plain publish is one", async () => {
    const message = await send({ payload: "hello" });
    expect(headerText(message)).to.equal("");
    expect(fromMessage(message).attributes).to.deep.equal({});
    expect(text(fromMessage(message).data)).to.equal("hello");
  });
});
