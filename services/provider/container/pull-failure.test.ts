import { expect } from "chai";
import type { ErrorCode } from "../../../schemas/errors.ts";
import { pullFailure } from "./pull-failure.ts";

const failure = (reason: string, more: object = {}) =>
  pullFailure({
    image: "ghcr.io/me/timeout-denied:1",
    full: "ghcr.io/me/timeout-denied:1",
    credentials: { from: "asked by the test", login: { password: "s3cret", serveraddress: "ghcr.io" } },
    error: Object.assign(new Error(reason), more),
  });

describe("pullFailure()", () => {
  const engine = (status: number, reason: string): readonly [string, object] => [
    `(HTTP code ${status}) ${status === 500 ? "server error" : "unexpected"} - ${reason} `,
    { statusCode: status },
  ];
  const cases: readonly (readonly [readonly [string, object?], ErrorCode, string])[] = [
    [
      engine(404, "pull access denied for me/x, repository does not exist or may require 'docker login'"),
      "invalid_request",
      "pull access denied for me/x, repository does not exist or may require 'docker login' (asked by the test)",
    ],
    [
      engine(404, "manifest for ghcr.io/me/timeout-denied:1 not found: manifest unknown: manifest unknown"),
      "invalid_request",
      "manifest for ghcr.io/me/timeout-denied:1 not found: manifest unknown: manifest unknown",
    ],
    [
      engine(500, 'Head "https://ghcr.io/v2/me/timeout-denied/manifests/1": no basic auth credentials'),
      "invalid_request",
      'Head "https://ghcr.io/v2/me/timeout-denied/manifests/1": no basic auth credentials (asked by the test)',
    ],
    [
      engine(500, "unauthorized: authentication required"),
      "invalid_request",
      "unauthorized: authentication required (asked by the test)",
    ],
    [engine(500, "denied: denied"), "invalid_request", "denied: denied (asked by the test)"],
    [
      ["no matching manifest for linux/amd64 in the manifest list entries"],
      "invalid_request",
      "no matching manifest for linux/amd64 in the manifest list entries",
    ],
    [
      engine(
        500,
        "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
      ),
      "registry_unavailable",
      "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating (asked by the test)",
    ],
    [
      engine(500, 'Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 10.0.0.1:53: no such host'),
      "registry_unavailable",
      'Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 10.0.0.1:53: no such host',
    ],
    [
      engine(500, 'Get "https://ghcr.io/v2/": net/http: TLS handshake timeout'),
      "registry_unavailable",
      'Get "https://ghcr.io/v2/": net/http: TLS handshake timeout',
    ],
    [
      ["received unexpected HTTP status: 503 Service Unavailable"],
      "registry_unavailable",
      "received unexpected HTTP status: 503 Service Unavailable",
    ],
    [
      ["failed to register layer: open /x: permission denied"],
      "start_failed",
      "failed to register layer: open /x: permission denied",
    ],
    [
      ["connect ENOENT /run/docker.sock", { code: "ENOENT" }],
      "provider_unavailable",
      "the container engine does not answer: connect ENOENT /run/docker.sock",
    ],
    [["the password s3cret is denied"], "invalid_request", "the password … is denied (asked by the test)"],
  ];
  for (const [[reason, more], code, says] of cases)
    it(`calls "${reason.trim().slice(0, 70)}" ${code}`, () =>
      expect(failure(reason, more)).to.include({
        code,
        message: `could not pull image ghcr.io/me/timeout-denied:1: ${says}`,
      }));
});
