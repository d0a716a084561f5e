import { expect } from "chai";
import { type ConfiguredLogin, findInFile, findLogin, parseDockerConfig } from "./docker-config.ts";

const auth = Buffer.from("me:pass:word").toString("base64");
const login = { username: "me", password: "pass:word" };
const none: ConfiguredLogin = { kind: "none" };
const hub = "https://index.docker.io/v1/";

describe("findLogin()", () => {
  const cases: readonly (readonly [string, object, string, ConfiguredLogin])[] = [
    ["nothing", {}, "ghcr.io", none],
    ["another registry", { auths: { "quay.io": { auth } } }, "ghcr.io", none],
    [
      "user and password in base64",
      { auths: { "ghcr.io": { auth } } },
      "ghcr.io",
      { kind: "login", login: { ...login, serveraddress: "ghcr.io" } },
    ],
    [
      "a whole URL",
      { auths: { "https://ghcr.io/v2/": { auth } } },
      "ghcr.io",
      { kind: "login", login: { ...login, serveraddress: "ghcr.io" } },
    ],
    ["the same host on another port", { auths: { "ghcr.io:5000": { auth } } }, "ghcr.io", none],
    [
      "Docker's own registry under its old address",
      { auths: { [hub]: { auth } } },
      "docker.io",
      { kind: "login", login: { ...login, serveraddress: hub } },
    ],
    [
      "Docker's own registry under its name",
      { auths: { "docker.io": login } },
      "docker.io",
      { kind: "login", login: { ...login, serveraddress: hub } },
    ],
    [
      "an identity token",
      { auths: { "ghcr.io": { auth: Buffer.from("00000000-0000:").toString("base64"), identitytoken: "t" } } },
      "ghcr.io",
      { kind: "login", login: { identitytoken: "t", serveraddress: "ghcr.io" } },
    ],
    ["an entry that a store keeps", { auths: { "ghcr.io": {} } }, "ghcr.io", none],
    ["base64 of no pair", { auths: { "ghcr.io": { auth: "AAAA" } } }, "ghcr.io", none],
    [
      "a store before the file",
      { credsStore: "desktop", auths: { "ghcr.io": { auth } } },
      "ghcr.io",
      { kind: "helper", name: "desktop" },
    ],
    [
      "a helper before the store",
      { credsStore: "desktop", credHelpers: { "ghcr.io": "gh" } },
      "ghcr.io",
      { kind: "helper", name: "gh" },
    ],
    ["a helper that is a path", { credsStore: "../../tmp/x" }, "ghcr.io", none],
    ["sections of a wrong kind", { auths: [], credHelpers: "x" }, "ghcr.io", none],
  ];
  for (const [what, config, registry, found] of cases)
    it(`finds ${found.kind} in ${what}`, () =>
      expect(findLogin(parseDockerConfig(JSON.stringify(config)), registry)).to.deep.equal(found));

  it("is kept to the file by findInFile()", () =>
    expect(findInFile({ credsStore: "desktop", auths: { "ghcr.io": { auth } } }, "ghcr.io").kind).to.equal("login"));
});

describe("parseDockerConfig()", () => {
  for (const text of ["", "s3cret", "[1]", '{"auths": s3cret'])
    it(`refuses ${JSON.stringify(text)} without repeating it`, () =>
      expect(() => parseDockerConfig(text))
        .to.throw("it is not a JSON object")
        .with.property("message")
        .not.contain("s3cret"));
});
