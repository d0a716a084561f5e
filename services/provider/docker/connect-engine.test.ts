import { createServer } from "node:http";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import Docker from "dockerode";
import { connectEngine } from "./connect-engine.ts";

describe("connectEngine()", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "busker-connect-"));
  });
  after(() => rm(folder, { recursive: true }));

  /** What connecting to an engine of this API gives: the error where there is one. */
  const connectTo = async (ApiVersion: string): Promise<unknown> => {
    const socketPath = join(folder, `${ApiVersion}.sock`);
    const server = createServer((_request, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ Version: "1.2.3", ApiVersion }));
    }).listen(socketPath);
    await once(server, "listening");
    const found = await connectEngine(new Docker({ socketPath })).catch((error: unknown) => error);
    server.close();
    server.closeAllConnections();
    return found;
  };

  for (const api of ["1.41", "1.50", "2.0"])
    it(`takes an engine with API ${api}`, async () => {
      expect(await connectTo(api)).to.have.property("title", `Docker Engine 1.2.3 at ${join(folder, `${api}.sock`)}`);
    });

  for (const api of ["1.40", "1.9"])
    it(`refuses one with API ${api}, naming the least`, async () => {
      const error = await connectTo(api);
      expect(error).to.have.property("code", "unsupported");
      expect((error as Error).message).to.match(
        /is too old: 1\.2\.3 has API 1\.\d+, and 1\.41 \(Docker 20\.10\) is needed/,
      );
    });

  it("says where nobody answers, why, and what to do", async () => {
    const socketPath = join(folder, "nobody.sock");
    const error = await connectEngine(new Docker({ socketPath })).catch((cause: unknown) => cause);
    expect(error).to.have.property("code", "unsupported");
    expect((error as Error).message).to.equal(
      `no Docker engine answers at ${socketPath}: connect ENOENT ${socketPath}; start one, name another by DOCKER_HOST, or choose BUSKER_BACKEND=process`,
    );
  });
});
