import { expect } from "chai";
import { readProviderConfig } from "./config.ts";

describe("readProviderConfig()", () => {
  it("gives absolute paths and the signer of the data folder, because replicas start elsewhere", () => {
    const config = readProviderConfig({ BUSKER_CREDENTIALS: "c", BUSKER_DATA: "/d", PATH: "/bin" });
    expect(config).to.deep.include({
      dataFolder: "/d",
      signerFile: "/d/trust/signer.json",
      path: "/bin",
      backend: "process",
    });
    expect(config.watchdogFile).to.match(/^\/.*watchdog\/watchdog\.mjs$/);
    expect(config.replicaCredentialsTtlMs).to.equal(12 * 3600_000);
  });

  it("has replicas reach NATS where it does itself, unless it is told otherwise", () => {
    const env = { BUSKER_CREDENTIALS: "c", BUSKER_BACKEND: "docker", BUSKER_NATS_URL: "nats://a:1" };
    expect(readProviderConfig(env)).to.include({ backend: "docker", replicaNatsUrl: "nats://a:1", pidsLimit: 1024 });
    expect(readProviderConfig({ ...env, BUSKER_REPLICA_NATS_URL: "nats://b:2" }).replicaNatsUrl).to.equal("nats://b:2");
  });

  const registryCases: readonly (readonly [Record<string, string>, string])[] = [
    [{ HOME: "/home/me" }, "/home/me/.docker/config.json"],
    [{ HOME: "/home/me", DOCKER_CONFIG: "/etc/docker-of-mine" }, "/etc/docker-of-mine/config.json"],
    [{ HOME: "/home/me", DOCKER_CONFIG: "/a", BUSKER_REGISTRY_CONFIG: "/b.json" }, "/b.json"],
  ];
  for (const [env, file] of registryCases)
    it(`looks for the credentials of registries in ${file}, as docker login writes them`, () => {
      const config = readProviderConfig({ BUSKER_CREDENTIALS: "c", ...env });
      expect(config).to.include({ registryConfigFile: file, imagePullPolicy: "IfNotPresent" });
    });

  const faults = [
    { env: {}, code: "invalid_request", says: "BUSKER_CREDENTIALS must be set" },
    {
      env: { BUSKER_CREDENTIALS: "c", BUSKER_BACKEND: "k8s" },
      code: "invalid_request",
      says: "BUSKER_BACKEND must be one of",
    },
    {
      env: { BUSKER_CREDENTIALS: "c", BUSKER_BACKEND: "swarm" },
      code: "invalid_request",
      says: "BUSKER_WATCHDOG_IMAGE must name the image of infra/watchdog",
    },
    {
      env: { BUSKER_CREDENTIALS: "c", BUSKER_PIDS_LIMIT: "5" },
      code: "invalid_request",
      says: "BUSKER_PIDS_LIMIT must be a whole number from 32",
    },
    {
      env: { BUSKER_CREDENTIALS: "c", BUSKER_MEMORY_RESERVE: "101" },
      code: "invalid_request",
      says: "BUSKER_MEMORY_RESERVE must be a whole number from 0 to 100",
    },
    {
      env: { BUSKER_CREDENTIALS: "c", BUSKER_IMAGE_PULL_POLICY: "always" },
      code: "invalid_request",
      says: "BUSKER_IMAGE_PULL_POLICY must be one of Always, IfNotPresent, Never",
    },
    {
      env: { BUSKER_CREDENTIALS: "c", BUSKER_REPLICA_CREDENTIALS_TTL: "long" },
      code: "invalid_request",
      says: "BUSKER_REPLICA_CREDENTIALS_TTL",
    },
  ];
  for (const { env, code, says } of faults)
    it(`refuses ${JSON.stringify(env)} with ${code}`, () => {
      expect(() => readProviderConfig(env))
        .to.throw(says)
        .with.property("code", code);
    });
});
