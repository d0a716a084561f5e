import { expect } from "chai";
import { Registry, serveMetrics } from "./metrics.ts";
import { countReconnects } from "./reconnects.ts";

describe("countReconnects()", () => {
  it("counts how often the bus has come back, from 0", async () => {
    const registry = new Registry();
    let tell = (_connected: boolean): void => {};
    countReconnects(registry, "x_nats_reconnect_total", { onChange: (listener) => (tell = listener) });
    const server = await serveMetrics(registry, "127.0.0.1", 0);
    const count = async (): Promise<string | undefined> => {
      const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
      return /^x_nats_reconnect_total (\d+)$/m.exec(text)?.[1];
    };
    expect(await count()).to.equal("0");
    for (const connected of [false, true, false]) tell(connected);
    expect(await count()).to.equal("1");
    await server.stop();
  });
});
