import { expect } from "chai";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { buildContainerLaunch, containerOptions } from "./container-launch.ts";
import { type ImageConfig, imageCommand } from "./image.ts";

const folder = {
  path: "/data/watchdog/v1-x64",
  version: "v1",
  node: ["/.busker/loader", "--library-path", "/.busker/lib", "/.busker/node"],
};
const place = { folder, natsUrl: "nats://10.0.0.1:4222", credentials: "SECRET" };
const spec: FunctionSpec = { name: "fn", namespace: "ns", image: "app:1", envVars: { GREETING: "hi", mode: "http" } };
const image: ImageConfig = {
  Entrypoint: ["/app"],
  Cmd: ["serve", "a b"],
  Env: ["GREETING=hello", "PATH=/opt/bin:/bin", "OPTIONS=a=b", "LD_PRELOAD=/x.so"],
  WorkingDir: "/srv",
};

describe("buildContainerLaunch()", () => {
  const build = (own: Partial<FunctionSpec> = {}, config: ImageConfig = image) =>
    buildContainerLaunch({ id: "r1", spec: { ...spec, ...own }, revision: "w1" }, config, place);

  it("gives the function the image's environment, with the function's own variables before it", () => {
    expect(build().env).to.deep.equal({
      GREETING: "hi",
      PATH: "/opt/bin:/bin",
      OPTIONS: "a=b",
      LD_PRELOAD: "/x.so",
      OPENFAAS_NAME: "fn",
      OPENFAAS_NAMESPACE: "ns",
      mode: "http",
    });
  });

  it("passes the image's command on word by word, and its folder", () => {
    expect(build()).to.deep.include({ command: ["/app", "serve", "a b"], cwd: "/srv", credentials: "SECRET" });
  });

  it("sets fprocess from envProcess, which goes before the image's command", () => {
    expect(build({ envProcess: "cat -n" }).env).to.include({ fprocess: "cat -n" });
  });

  it("passes the secrets on, and their folder over what the function says itself", () => {
    const secrets = { folder: "/var/openfaas/secrets", key: "KEY", files: {} };
    const own = { ...spec, envVars: { secret_mount_path: "/run/secrets" } };
    const launch = buildContainerLaunch({ id: "r1", spec: own, revision: "w1" }, image, { ...place, secrets });
    expect(launch.secrets).to.equal(secrets);
    expect(launch.env).to.include({ secret_mount_path: "/var/openfaas/secrets" });
    expect(build()).to.not.have.property("secrets");
  });

  it("says which calls are traced, where any are", () => {
    const traces = { ratio: 0.5, isParentBased: true };
    const start = { id: "r1", spec, revision: "w1" };
    expect(buildContainerLaunch(start, image, { ...place, traces })).to.deep.include({ traces });
    expect(build()).to.not.have.property("traces");
  });

  it("starts in / with an empty command when the image says nothing", () => {
    expect(build({}, {})).to.deep.include({ command: [], cwd: "/" });
  });
});

describe("imageCommand()", () => {
  const cases: readonly (readonly [string, ImageConfig, readonly string[]])[] = [
    ["ENTRYPOINT and CMD", { Entrypoint: ["a"], Cmd: ["b"] }, ["a", "b"]],
    ["a CMD in shell form", { Entrypoint: null, Cmd: ["/bin/sh", "-c", "a b"] }, ["/bin/sh", "-c", "a b"]],
    ["an ENTRYPOINT as one text, as old engines tell it", { Entrypoint: "a b" }, ["a b"]],
    ["neither", { Entrypoint: null, Cmd: null }, []],
  ];
  for (const [what, config, expected] of cases)
    it(`takes ${what}`, () => expect(imageCommand(config)).to.deep.equal(expected));
});

describe("containerOptions()", () => {
  const options = containerOptions(spec, image, { name: "busker-watchdog-v1-x64", folder });

  it("starts the watchdog by the loader, with the launch to come by standard input", () => {
    const { Entrypoint } = options;
    expect(Entrypoint?.slice(0, 4)).to.deep.equal(folder.node);
    expect(Entrypoint?.slice(-2)).to.deep.equal(["/.busker/watchdog.mjs", "-"]);
    expect(options).to.deep.include({ Cmd: [], OpenStdin: true, StdinOnce: true });
  });

  it("mounts the watchdog's volume read-only, and a file system in memory for a function that has secrets", () => {
    const mountsOf = (own: FunctionSpec) =>
      containerOptions(own, image, { name: "watchdog", folder }).HostConfig?.Mounts?.map(
        ({ Type, Source, Target, ReadOnly }) => [Type, Source, Target, ReadOnly],
      );
    const watchdog = ["volume", "watchdog", "/.busker", true];
    expect(mountsOf(spec)).to.deep.equal([watchdog]);
    expect(mountsOf({ ...spec, secrets: ["a"] })).to.deep.equal([
      watchdog,
      ["tmpfs", "", "/var/openfaas/secrets", undefined],
    ]);
  });

  it("takes each of the image's variables out of the watchdog's environment, by its name without a value", () => {
    expect(options.Env).to.deep.equal(["GREETING", "PATH", "OPTIONS", "LD_PRELOAD"]);
  });

  it("holds no word of the function's environment and nothing secret, because engines tell it to who asks", () => {
    expect(JSON.stringify(options)).to.not.match(/SECRET|nats:|hello|"hi"/);
  });
});
