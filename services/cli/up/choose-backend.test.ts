import { expect } from "chai";
import { readUpConfig } from "../config.ts";
import { chooseBackend } from "./choose-backend.ts";
import type { EngineAnswer } from "./engine.ts";

const ready: EngineAnswer = { kind: "ready", engine: { name: "Docker Engine 1", address: "172.17.0.1" } };
const none: EngineAnswer = { kind: "none", why: "no such socket" };
const choose = (env: Readonly<Record<string, string>>, answer: EngineAnswer) =>
  chooseBackend(readUpConfig(env), { prepare: async () => answer });

describe("chooseBackend()", () => {
  const cases = [
    ["auto, with an engine", {}, ready, "docker", "172.17.0.1"],
    ["auto, without", {}, none, "process", "127.0.0.1"],
    ["process, with an engine", { BUSKER_BACKEND: "process" }, ready, "process", "127.0.0.1"],
    ["docker", { BUSKER_BACKEND: "docker" }, ready, "docker", "172.17.0.1"],
    ["an address that it is told", { BUSKER_NATS_HOST: "10.0.0.1" }, ready, "docker", "10.0.0.1"],
    ["swarm", { BUSKER_BACKEND: "swarm", BUSKER_NATS_HOST: "10.0.0.1" }, none, "swarm", "10.0.0.1"],
  ] as const;
  for (const [what, env, answer, backend, natsHost] of cases)
    it(`takes for ${what}: ${backend}, with nats-server on ${natsHost}`, async () => {
      expect(await choose(env, answer)).to.include({ backend, natsHost });
    });

  it("says why it takes processes although it would rather have an engine", async () => {
    expect((await choose({}, none)).description).to.include("no Docker engine can be used: no such socket");
  });

  const refusals = [
    ["docker without an engine", { BUSKER_BACKEND: "docker" }, /BUSKER_BACKEND\) needs an engine.*no such socket/],
    ["swarm without an address that nodes reach", { BUSKER_BACKEND: "swarm" }, /needs BUSKER_NATS_HOST/],
    ["swarm on the loopback", { BUSKER_BACKEND: "swarm", BUSKER_NATS_HOST: "127.0.0.1" }, /needs BUSKER_NATS_HOST/],
  ] as const;
  for (const [what, env, message] of refusals)
    it(`refuses ${what}`, async () => {
      const error = await choose(env, none).catch((cause: unknown) => cause);
      expect(error).to.have.property("code", "unsupported");
      expect((error as Error).message).to.match(message);
    });
});
