import { expect } from "chai";
import type { IncomingBody } from "../../services/bus/body-receiver.ts";
import type { Call } from "../mode.ts";
import { buildRequestHead } from "./request-head.ts";

const build = (call: Partial<Call>, pathPrefix = ""): string =>
  buildRequestHead(
    { id: "c1", method: "GET", path: "/", headers: [], body: new Uint8Array(), deadlineMs: 0, ...call },
    { authority: "127.0.0.1:1", pathPrefix },
  );

const rest: IncomingBody = { listen: () => {}, consumed: () => {} };
const common = "Host: 127.0.0.1:1\r\nX-Call-Id: c1\r\n";
const cases: readonly (readonly [string, Partial<Call>, string])[] = [
  ["the least that a request needs", {}, `GET / HTTP/1.1\r\n${common}\r\n`],
  [
    "the length of a body",
    { method: "POST", body: new Uint8Array(3) },
    `POST / HTTP/1.1\r\n${common}Content-Length: 3\r\n\r\n`,
  ],
  ["a length of 0 where a body is usual", { method: "PUT" }, `PUT / HTTP/1.1\r\n${common}Content-Length: 0\r\n\r\n`],
  [
    "the client's host and call id",
    { headers: ["host", "h", "x-call-id", "i"] },
    "GET / HTTP/1.1\r\nhost: h\r\nx-call-id: i\r\n\r\n",
  ],
  [
    "no hop-by-hop header, none named by Connection, no length or expectation of the client's",
    {
      headers: [
        "Connection",
        "X-Hop",
        "X-Hop",
        "1",
        "TE",
        "trailers",
        "Transfer-Encoding",
        "chunked",
        "Content-Length",
        "9",
        "Expect",
        "100-continue",
        "Upgrade",
        "h2c",
        "X-End",
        "2",
      ],
    },
    `GET / HTTP/1.1\r\nX-End: 2\r\n${common}\r\n`,
  ],
  [
    "the upgrade instead of a length, and the client's WebSocket headers as they are",
    { upgrade: "websocket", rest, headers: ["Sec-WebSocket-Key", "k", "Content-Length", "0", "Upgrade", "h2c"] },
    `GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\n${common}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  ],
  ["path and query as they were sent", { path: "/a%20b?c=%2F&d" }, `GET /a%20b?c=%2F&d HTTP/1.1\r\n${common}\r\n`],
];

const refused: readonly (readonly [string, Partial<Call>])[] = [
  ["a line end in a value", { headers: ["A", "b\r\nEvil: 1"] }],
  ["a character that Latin-1 would cut into a line end", { headers: ["A", "b\u010aEvil: 1"] }],
  ["a header name with a colon", { headers: ["A:b", "c"] }],
  ["a path with a space", { path: "/a b" }],
  ["a path with a line end", { path: "/ HTTP/1.1\r\nEvil: 1\r\n" }],
  ["a path without a slash", { path: "a" }],
  ["a method with a space", { method: "GET /x" }],
];

describe("buildRequestHead()", () => {
  for (const [what, call, expected] of cases) it(`gives ${what}`, () => expect(build(call)).to.equal(expected));
  it("puts the prefix of upstream_url before the path", () => {
    expect(build({ path: "/a" }, "/base")).to.match(/^GET \/base\/a HTTP/);
  });
  for (const [what, call] of refused)
    it(`refuses ${what}, because the function's server would read another request`, () => {
      expect(() => build(call))
        .to.throw()
        .with.property("code", "invalid_request");
    });
});
