import { expect } from "chai";
import type { IncomingMessage } from "node:http";
import { readCallHead } from "./http-head.ts";

const requestOf = (rawHeaders: string[]): IncomingMessage => {
  const headers: Record<string, string> = {};
  for (let at = 0; at < rawHeaders.length; at += 2)
    headers[(rawHeaders[at] ?? "").toLowerCase()] = rawHeaders[at + 1] ?? "";
  return {
    method: "POST",
    rawHeaders,
    headers,
    socket: { remoteAddress: "127.0.0.1", remotePort: 7 },
  } as unknown as IncomingMessage;
};

const read = (...raw: string[]): { callId: string; map: Map<string, string[]> } => {
  const { callId, head } = readCallHead(requestOf(raw), "/", "1000000");
  const map = new Map<string, string[]>();
  for (let at = 0; at < head.headers.length; at += 2) {
    const name = (head.headers[at] ?? "").toLowerCase();
    map.set(name, [...(map.get(name) ?? []), head.headers[at + 1] ?? ""]);
  }
  return { callId, map };
};

describe("readCallHead()", () => {
  it("makes a call id where the client gave none, and tells the function", () => {
    const { callId, map } = read();
    expect(callId).to.match(/^[0-9a-f-]{36}$/);
    expect(map.get("x-call-id")).to.deep.equal([callId]);
  });

  it("keeps the client's call id", () => {
    expect(read("X-Call-Id", "mine").callId).to.equal("mine");
  });

  it("replaces a call id too long to travel", () => {
    const { callId, map } = read("X-Call-Id", "x".repeat(129));
    expect(callId).to.have.length(36);
    expect(map.get("x-call-id")).to.deep.equal([callId]);
  });

  it("does not let a client forge the start time", () => {
    expect(read("X-Start-Time", "0").map.get("x-start-time")).to.deep.equal(["1000000"]);
  });

  it("adds forwarding headers and a user agent only where absent", () => {
    const { map } = read("Host", "h", "X-Forwarded-For", "1.2.3.4", "User-Agent", "curl");
    expect(map.get("x-forwarded-for")).to.deep.equal(["1.2.3.4"]);
    expect(map.get("user-agent")).to.deep.equal(["curl"]);
    expect(map.get("x-forwarded-host")).to.deep.equal(["h"]);
    expect(read().map.get("x-forwarded-for")).to.deep.equal(["127.0.0.1:7"]);
  });

  it("drops headers of this hop, those named by Connection among them", () => {
    const { map } = read(
      "Connection",
      "close, X-Secret-Hop",
      "X-Secret-Hop",
      "1",
      "Transfer-Encoding",
      "chunked",
      "Keep-Alive",
      "5",
      "X-Kept",
      "1",
    );
    expect([...map.keys()]).to.not.include.members(["x-secret-hop", "transfer-encoding", "keep-alive", "connection"]);
    expect(map.get("x-kept")).to.deep.equal(["1"]);
  });

  it("keeps repeated headers in order", () => {
    expect(read("X-A", "1", "X-A", "2").map.get("x-a")).to.deep.equal(["1", "2"]);
  });
});
