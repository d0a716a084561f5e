import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { expect } from "chai";
import { stores } from "../schemas/topology.ts";
import { type Bus, openBus } from "../services/bus/connection.ts";
import { openStore } from "../services/bus/objects.ts";
import { openRequest, responseTo } from "./support/http.ts";
import { eventually, startTestPlatform, type TestPlatform } from "./support/platform.ts";

/* What of durable calls needs nobody who runs them: each is put off for an hour. */

const echo = { "handler.mjs": "export default (event) => event.body;" };

describe("durable calls that wait", function () {
  this.timeout(60_000);
  let platform: TestPlatform;

  before(async () => {
    platform = await startTestPlatform({ BUSKER_MAX_ASYNC_BODY_BYTES: String(64 * 1024 * 1024) });
    const deployed = await platform.deploy({ name: "echo", envVars: { mode: "handler" }, code: echo });
    expect(deployed.status, await deployed.text()).to.equal(202);
  });

  after(() => platform?.stop());

  const send = (
    path: string,
    init: Omit<RequestInit, "headers"> & { headers?: Record<string, string> } = {},
  ): Promise<Response> =>
    fetch(`${platform.url}/async-function/${path}`, {
      method: "POST",
      ...init,
      headers: { "X-Delay": "1h", ...init.headers },
    });
  const idOf = (response: Response): string => encodeURIComponent(response.headers.get("x-call-id") ?? "");
  const stateOf = async (id: string): Promise<unknown> =>
    ((await (await fetch(`${platform.url}/async-function/${id}`)).json()) as { state: unknown }).state;

  const openAdmin = (): Promise<Bus> =>
    openBus({
      url: platform.natsUrl,
      credentialsFile: `${platform.dataFolder}/creds/admin.creds`,
      user: "admin",
      name: "test",
    });

  it("are accepted, shown, awaited and cancelled", async () => {
    const accepted = await send("echo/path?query", { body: "hello", headers: { "X-Priority": "low" } });
    expect(accepted.status).to.equal(202);
    const id = idOf(accepted);
    const view = (await (await fetch(`${platform.url}/async-function/${id}?wait=50ms`)).json()) as object;
    expect(view).to.include({ id, function: "echo.openfaas-fn", state: "queued", priority: "low" });
    expect((await fetch(`${platform.url}/async-function/${id}/response`)).status).to.equal(202);
    expect((await fetch(`${platform.url}/async-function/${id}`, { method: "DELETE" })).status).to.equal(202);
    expect(await stateOf(id)).to.equal("cancelled");
    expect((await fetch(`${platform.url}/async-function/${id}/response`)).status).to.equal(499);
  });

  it("are shown to the administrator only under /system/calls", async () => {
    const id = idOf(await send("echo"));
    expect((await fetch(`${platform.url}/system/calls/${id}`)).status).to.equal(401);
    expect(await (await platform.api("GET", `/system/calls/${id}`)).json()).to.include({ id, state: "queued" });
    expect((await platform.api("DELETE", `/system/calls/${id}`)).status).to.equal(202);
  });

  it("may be given annotations of their own, which are checked at once", async () => {
    const deploy = (annotations: Record<string, string>): Promise<Response> =>
      platform.deploy({ name: "kept", envVars: { mode: "handler" }, code: echo, more: { annotations } });
    const refused = await deploy({ "com.openfaas.retry.attempts": "many" });
    expect([refused.status, await refused.text()]).to.satisfy(
      ([status, text]: [number, string]) => status === 400 && text.includes("com.openfaas.retry.attempts"),
    );
    const taken = await deploy({ "com.openfaas.retry.attempts": "3", "com.busker.result.ttl": "10m" });
    expect(taken.status, await taken.text()).to.equal(202);
    const id = idOf(await send("kept"));
    await fetch(`${platform.url}/async-function/${id}`, { method: "DELETE" });
    const view = (await (await fetch(`${platform.url}/async-function/${id}`)).json()) as Record<string, string>;
    // As long as it is in the queue, where nobody takes it out here, its record must say that it is not to be run.
    expect([view["state"], view["expiresAt"]]).to.deep.equal(["cancelled", undefined]);
  });

  it("may have a body of any size up to the limit, and leave nothing when it is above", async () => {
    const admin = await openAdmin();
    try {
      const store = await openStore(admin, stores.payloads);
      const before = await store.list();
      const id = idOf(await send("echo", { body: randomBytes(40_000_000) }));
      const name = (await store.list()).find((stored) => stored.startsWith(`${id}.`)) ?? "";
      expect(await store.size(name)).to.equal(40_000_000);
      const request = openRequest(`${platform.url}/async-function/echo`, { headers: { "X-Delay": "1h" } });
      const response = responseTo(request);
      for (let mebibytes = 0; mebibytes <= 64; mebibytes += 1)
        if (!request.write(randomBytes(1024 * 1024))) await Promise.race([once(request, "drain"), response]);
      expect((await response).statusCode).to.equal(413);
      request.destroy();
      expect(await store.list()).to.have.members([...before, name]);
    } finally {
      await admin.close();
    }
  });

  it("are there when gateway and server are killed, and not accepted twice", async () => {
    const key = { "Idempotency-Key": "killed" };
    const ids = await Promise.all(
      [send("echo", { headers: key }), send("echo"), send("echo")].map(async (sent) => idOf(await sent)),
    );
    for (const program of ["services/gateway/main.js", "nats-server"])
      for (const pid of platform.pids(program)) process.kill(pid, "SIGKILL");
    const again = await eventually(
      "calls are accepted again",
      async () => {
        const response = await send("echo", { headers: key }).catch(() => undefined);
        return response?.status === 202 ? response : undefined;
      },
      30_000,
    );
    expect(idOf(again)).to.equal(ids[0]);
    for (const id of ids) expect(await stateOf(id)).to.equal("queued");
  });
});
