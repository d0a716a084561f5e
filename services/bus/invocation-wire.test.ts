import { expect } from "chai";
import type { Msg } from "nats";
import { headers as createHeaders } from "nats";
import { decodeReply, decodeRequest, encodeReply, encodeRequest } from "./invocation-wire.ts";

const textOf = (block: unknown): string =>
  Buffer.from((block as { encode: () => Uint8Array }).encode()).toString("utf8");

const messageWith = (http: string): Msg => {
  const headers = createHeaders();
  headers.append("Busker-Http", http);
  return { headers, data: new Uint8Array(), subject: "busker.invoke.ns.fn" } as unknown as Msg;
};

describe("decodeReply()", () => {
  const parts = { callId: "c1", source: "/busker/t", inFlight: 1, slots: 4 };

  it("reads what encodeReply() wrote", () => {
    const head = { status: 418, headers: ["Content-Type", "text/plain", "X-A", "é\t ~"] };
    expect(decodeReply(textOf(encodeReply({ ...parts, head, offer: true, error: "replica_busy" })))).to.deep.equal({
      head,
      inFlight: 1,
      slots: 4,
      offer: true,
      error: "replica_busy",
    });
  });

  it("takes 101 where an upgrade was asked for, and only there", () => {
    const headers = `NATS/1.0\r\nBusker-Http: {"status":101,"headers":[]}\r\n\r\n`;
    expect(decodeReply(headers, true).head).to.deep.equal({ status: 101, headers: [] });
    expect(() => decodeReply(headers)).to.throw("status must be 200 to 999");
    expect(() => decodeReply(headers.replace("101", "102"), true)).to.throw("status must be 200 to 999");
  });

  it("takes a reply without headers as a plain 200, because any NATS client may answer", () => {
    expect(decodeReply("")).to.deep.include({ head: { status: 200, headers: [] }, error: undefined });
  });

  for (const head of [
    "null",
    "{",
    "[]",
    '"x"',
    '{"status":200}',
    '{"headers":[]}',
    '{"status":"200","headers":[]}',
    '{"status":99999,"headers":[]}',
    '{"status":100,"headers":[]}',
    '{"status":200.5,"headers":[]}',
    '{"status":200,"headers":"a"}',
    '{"status":200,"headers":["X"]}',
    '{"status":200,"headers":["X",1]}',
    '{"status":200,"headers":["X","a\\r\\nY: b"]}',
    '{"status":200,"headers":["X","\\u0000"]}',
    '{"status":200,"headers":["X","\\ud83d\\ude00"]}',
    '{"status":200,"headers":["X Y","a"]}',
    '{"status":200,"headers":["","a"]}',
  ])
    it(`refuses the head ${head}, because writing it to a client would throw and leave the client waiting`, () => {
      expect(() => decodeReply(`NATS/1.0\r\nBusker-Http: ${head}\r\n\r\n`)).to.throw();
    });
});

describe("decodeRequest()", () => {
  it("reads what encodeRequest() wrote", () => {
    const head = { method: "PUT", path: "/a?b=c", headers: ["A", "b"], upgrade: "websocket" } as const;
    const block = textOf(encodeRequest({ callId: "c 1", source: "/busker/t", head, deadlineMs: 5 }));
    const headers = createHeaders();
    for (const line of block.split("\r\n").slice(1)) {
      const colon = line.indexOf(":");
      if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 2));
    }
    const message = { headers, data: new Uint8Array([1]), subject: "s" } as unknown as Msg;
    expect(decodeRequest(message)).to.deep.include({ callId: "c 1", head, deadlineMs: 5, hops: 0 });
  });

  for (const head of [
    "null",
    "{",
    "[]",
    '{"method":"GET","path":"/"}',
    '{"method":"GET","path":"/","headers":["A",1]}',
    '{"method":1,"path":"/","headers":[]}',
    '{"method":"GET","path":"/","headers":[],"upgrade":"h2c"}',
  ])
    it(`refuses the head ${head} as invalid_request, naming the header`, () => {
      expect(() => decodeRequest(messageWith(head)))
        .to.throw("header Busker-Http must be JSON with method, path and headers")
        .with.property("code", "invalid_request");
    });
});

describe("decodeRequest() of a plain event in a trace", () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const headersOf = (attributes: Readonly<Record<string, string>>): readonly string[] => {
    const headers = createHeaders();
    for (const [name, value] of Object.entries(attributes)) headers.append(name, value);
    return decodeRequest({ headers, data: new Uint8Array() } as unknown as Msg).head.headers;
  };

  it("gives the function both as HTTP headers, too, because its own tracing looks there", () =>
    expect(headersOf({ "ce-traceparent": traceparent, "ce-tracestate": "a=1" })).to.deep.equal([
      "ce-traceparent",
      traceparent,
      "ce-tracestate",
      "a=1",
      "traceparent",
      traceparent,
      "tracestate",
      "a=1",
    ]));

  for (const text of ["00-1-2-01", "%ff", '"'])
    it(`takes ${text} for no trace, and the call nevertheless`, () =>
      expect(headersOf({ "ce-traceparent": text })).to.deep.equal(["ce-traceparent", text]));

  it("does the same for one in structured mode", () => {
    const headers = createHeaders();
    headers.append("Content-Type", "application/cloudevents+json");
    const event = { specversion: "1.0", id: "1", source: "/s", type: "t", traceparent, data: 1 };
    const message = { headers, data: Buffer.from(JSON.stringify(event)) } as unknown as Msg;
    const given = decodeRequest(message).head.headers;
    expect(given[given.indexOf("traceparent") + 1]).to.equal(traceparent);
  });
});
