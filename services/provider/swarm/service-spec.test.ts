import { expect } from "chai";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { serviceName, type ServicePlace, serviceSpec } from "./service-spec.ts";

const platform = "0123456789";
const place: ServicePlace = {
  platform,
  image: "sha256:abc",
  config: { Env: ["PATH=/opt/bin", "NODE_OPTIONS=--x"], User: "app", WorkingDir: "/srv" },
  folder: {
    path: "/data/watchdog/v1-x64",
    version: "v1",
    node: ["/.busker/loader", "--library-path", "/.busker/lib", "--inhibit-cache", "/.busker/node"],
  },
  watchdogVolume: "busker-watchdog-v1-x64",
  architecture: "x86_64",
  networkId: "net1",
  bootstrap: { id: "secret1", name: "busker-enrol" },
  pidsLimit: 100,
  health: { intervalMs: 5000, startIntervalMs: 250 },
  bundle: undefined,
};
const spec: FunctionSpec = { name: "fn", namespace: "ns", image: "app:1" };

const build = (own: Partial<FunctionSpec> = {}, replicas = 3) =>
  serviceSpec({ spec: { ...spec, ...own }, replicas, revision: "w1", createdAt: "", updatedAt: "" }, place);
const taskOf = (own: Partial<FunctionSpec> = {}) =>
  build(own).TaskTemplate as unknown as {
    readonly ContainerSpec: Readonly<Record<string, unknown>> & {
      readonly Mounts: readonly { readonly Type: string; readonly Target: string; readonly ReadOnly?: boolean }[];
      readonly Healthcheck: { readonly Test: readonly string[]; readonly Interval: number };
    };
    readonly Resources: { readonly Limits: object; readonly Reservations: object };
    readonly Placement: { readonly Constraints: readonly string[] };
    readonly RestartPolicy: object;
  };

describe("serviceSpec()", () => {
  it("tells the engine nothing of the function's environment, and takes the image's own from the watchdog", () => {
    const { ContainerSpec } = taskOf({ envVars: { KEY: "a value" }, envProcess: "run it" });
    expect(ContainerSpec["Env"]).to.deep.equal(["PATH", "NODE_OPTIONS", "BUSKER_TASK={{.Task.ID}}"]);
    expect(JSON.stringify(build({ envVars: { KEY: "a value" } }))).not.to.match(/a value|nats:/);
  });

  it("starts the watchdog by the loader, which is to enrol", () => {
    const command = taskOf().ContainerSpec["Command"] as readonly string[];
    expect(command.slice(0, 5)).to.deep.equal(place.folder.node);
    expect(command.slice(-2)).to.deep.equal(["/.busker/watchdog.mjs", "enrol:/.busker-enrol"]);
  });

  const amounts: readonly (readonly [string, Partial<FunctionSpec>, object, object])[] = [
    ["none", {}, { Pids: 100 }, {}],
    ["100m of a core", { limits: { cpu: "100m" } }, { Pids: 100, NanoCPUs: 100_000_000 }, {}],
    ["half a core", { limits: { cpu: "0.5" } }, { Pids: 100, NanoCPUs: 500_000_000 }, {}],
    [
      "memory, and requests",
      { limits: { memory: "128Mi" }, requests: { memory: "64M", cpu: "1" } },
      { Pids: 100, MemoryBytes: 128 * 2 ** 20 },
      { MemoryBytes: 64_000_000, NanoCPUs: 1_000_000_000 },
    ],
  ];
  for (const [what, own, limits, reservations] of amounts)
    it(`sets limits and requests: ${what}`, () => {
      const { Resources } = taskOf(own);
      expect([Resources.Limits, Resources.Reservations]).to.deep.equal([limits, reservations]);
    });

  it("takes constraints word for word, and Linux only where there are none; always the watchdog's own processors", () => {
    const arch = "node.platform.arch==x86_64";
    expect(taskOf().Placement.Constraints).to.deep.equal(["node.platform.os==linux", arch]);
    const own = ["node.labels.disk == ssd", "node.role!=manager"];
    expect(taskOf({ constraints: own }).Placement.Constraints).to.deep.equal([...own, arch]);
  });

  it("opens no port and has no virtual address", () => expect(build().EndpointSpec).to.deep.equal({ Mode: "dnsrr" }));

  it("restarts for ever, starts new before it stops old, and goes back when that fails", () => {
    expect(taskOf().RestartPolicy).to.deep.equal({ Condition: "any", Delay: 1_000_000_000, MaxAttempts: 0 });
    expect(build({}, 10).UpdateConfig).to.deep.equal({
      Parallelism: 3,
      FailureAction: "rollback",
      Order: "start-first",
    });
    expect(build({}, 0).UpdateConfig).to.include({ Parallelism: 1 });
  });

  it("gives a replica its function's timeout to end, and some more", () => {
    const ms = (own: Partial<FunctionSpec>) => Number(taskOf(own).ContainerSpec["StopGracePeriod"]) / 1_000_000;
    expect(ms({ envVars: { exec_timeout: "2m" } })).to.equal(130_000);
  });

  it("drops every capability, runs as the image's user, and as nobody known where the image has none", () => {
    expect(taskOf().ContainerSpec).to.deep.include({ CapabilityDrop: ["ALL"], User: "app" });
    const bare = serviceSpec(
      { spec, replicas: 1, revision: "w1", createdAt: "", updatedAt: "" },
      { ...place, config: {} },
    ) as { TaskTemplate?: { ContainerSpec?: { User?: string } } };
    expect(bare.TaskTemplate?.ContainerSpec?.User).to.equal("12000:12000");
  });

  it("mounts nothing of the host: volumes and memory only, and what is shared read-only", () => {
    const { Mounts, ReadOnly } = taskOf({ secrets: ["a"], readOnlyRootFilesystem: true }).ContainerSpec;
    expect(ReadOnly).to.equal(true);
    expect(Mounts.map(({ Type, Target }) => `${Type} ${Target}`)).to.have.members([
      "volume /.busker",
      "tmpfs /.busker-run",
      "tmpfs /var/openfaas/secrets",
      "tmpfs /tmp",
    ]);
    expect(Mounts.find(({ Type }) => Type === "volume")?.ReadOnly).to.equal(true);
  });

  it("has the engine look at the link that the watchdog makes, by the loader alone", () => {
    const { Test, Interval } = taskOf().ContainerSpec.Healthcheck;
    expect(Test).to.deep.equal(["CMD", "/.busker/loader", "--verify", "/.busker-run/ready"]);
    expect(Interval).to.equal(5_000_000_000);
  });
});

describe("serviceName()", () => {
  it("tells functions of one name in different namespaces apart, hyphens and all", () => {
    const names = [
      serviceName(platform, { namespace: "a", name: "b-c" }),
      serviceName(platform, { namespace: "a-b", name: "c" }),
    ];
    expect(names).to.deep.equal(["busker-0123456789_a_b-c", "busker-0123456789_a-b_c"]);
  });

  it("shortens what an engine would refuse, and keeps it apart from others", () => {
    const long = (end: string) => serviceName(platform, { namespace: "n".repeat(63), name: `${"f".repeat(62)}${end}` });
    expect(long("a")).to.have.length(63).and.not.equal(long("b"));
    expect(long("a")).to.match(/^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$/);
  });
});
