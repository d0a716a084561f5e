import { expect } from "chai";
import { BuskerError } from "../../../schemas/errors.ts";
import { parseImageReference } from "./image-reference.ts";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("parseImageReference()", () => {
  const good: readonly (readonly [string, string])[] = [
    ["alpine", "docker.io/library/alpine:latest"],
    ["alpine:3.19", "docker.io/library/alpine:3.19"],
    ["openfaas/figlet", "docker.io/openfaas/figlet:latest"],
    ["docker.io/alpine", "docker.io/library/alpine:latest"],
    ["index.docker.io/library/alpine:3", "docker.io/library/alpine:3"],
    ["localhost/a", "localhost/a:latest"],
    ["localhost:5000/a/b/c:V1.0_x-y", "localhost:5000/a/b/c:V1.0_x-y"],
    ["localhost:5000", "docker.io/library/localhost:5000"],
    ["127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"],
    ["[::1]:5000/a", "[::1]:5000/a:latest"],
    ["ghcr.io/me/fn__a-b--c.d:1", "ghcr.io/me/fn__a-b--c.d:1"],
    ["Registry.Example.com/a", "Registry.Example.com/a:latest"],
    [`ghcr.io/me/fn@${digest}`, `ghcr.io/me/fn@${digest}`],
    [`ghcr.io/me/fn:1@${digest}`, `ghcr.io/me/fn@${digest}`],
    [`alpine@${digest}`, `docker.io/library/alpine@${digest}`],
  ];
  for (const [text, full] of good)
    it(`reads ${text} as ${full}`, () => expect(parseImageReference(text).full).to.equal(full));

  it("tells a reference's parts", () => {
    expect(parseImageReference("ghcr.io:443/me/fn:2")).to.deep.equal({
      registry: "ghcr.io:443",
      repository: "me/fn",
      tag: "2",
      full: "ghcr.io:443/me/fn:2",
    });
  });

  const bad: readonly (readonly [string, RegExp])[] = [
    ["", /it has no name/],
    [":1", /it has no name/],
    ["ghcr.io/", /it has no name/],
    ["Alpine", /lower case/],
    ["ghcr.io/Me/fn", /lower case/],
    ["a b", /each part of the name/],
    [" alpine", /each part of the name/],
    ["a//b", /each part of the name/],
    ["/alpine", /each part of the name/],
    ["a/b/", /each part of the name/],
    ["-a", /each part of the name/],
    ["a..b", /each part of the name/],
    ["a___b", /each part of the name/],
    ["../../etc/passwd", /the registry must be a host name/],
    ["http://ghcr.io/a", /the registry must be a host name/],
    ["ghcr.io:port/a", /the registry must be a host name/],
    ["user@ghcr.io/a", /a digest must be/],
    ["a:", /a tag must be/],
    ["a:.b", /a tag must be/],
    ["a:b c", /a tag must be/],
    ["a:1:2", /a tag must be/],
    [`a:${"x".repeat(129)}`, /a tag must be/],
    ["a@sha256:12", /a digest must be/],
    [`a@md5:${"0".repeat(64)}`, /a digest must be/],
    [`a@${digest}@${digest}`, /a digest must be/],
    ["a".repeat(256), /at most 255/],
    [digest, /an image's id/],
    ["0123456789abcdef".repeat(4), /an image's id/],
  ];
  for (const [text, rule] of bad)
    it(`refuses ${JSON.stringify(text.slice(0, 40))}: ${rule.source}`, () => {
      expect(() => parseImageReference(text))
        .to.throw(BuskerError, rule)
        .with.property("code", "invalid_request");
    });
});
