import { expect } from "chai";
import { callAnyFilter, callFilter, callSubject } from "../../schemas/subjects.ts";
import { streams } from "../../schemas/topology.ts";
import { startTestNats, type TestNats } from "../../test/support/nats.ts";
import { type Bus, openBus } from "./connection.ts";
import { publishEvent } from "./events.ts";
import { headerValue } from "./headers.ts";
import { readLastSeq } from "./last-message.ts";
import { type BackOptions, readBack } from "./read-back.ts";
import { ensureTopology } from "./topology.ts";

const open = (nats: TestNats, user: "admin" | "gateway"): Promise<Bus> =>
  openBus({ url: nats.url, credentialsFile: nats.credsFile(user), user, name: user });

describe("readBack()", function () {
  this.timeout(60_000);
  let nats: TestNats;
  let admin: Bus;
  let bus: Bus;
  let beganMs: number;
  const count = 5000;

  before(async () => {
    nats = await startTestNats();
    admin = await open(nats, "admin");
    bus = await open(nats, "gateway");
    await ensureTopology(admin);
    beganMs = Date.now() - 1000;
    // Each hundredth is of the rare function, the last two are of the last one.
    for (let at = 0; at < count; at += 1)
      publish(at >= count - 2 ? "last" : at % 100 === 0 ? "rare" : "busy", `c${at}`);
    await admin.nc.flush();
  });
  after(async () => {
    await bus?.close();
    await admin?.close();
    await nats?.stop();
  });

  const publish = (name: string, id: string): void => {
    const subject = callSubject("succeeded", "openfaas-fn", name);
    publishEvent(admin, { subject, type: "io.busker.call.succeeded", data: { id, atMs: 1, attempts: 1 } });
  };
  const read = async (more: Partial<BackOptions> = {}, windows = Number.POSITIVE_INFINITY): Promise<number[][]> => {
    const options = { stream: streams.CALLS, filter: callAnyFilter, since: new Date(beganMs), ...more };
    const seqs: number[][] = [];
    for await (const messages of readBack(bus, options)) {
      seqs.push(messages.map(({ seq }) => seq));
      if (seqs.length === windows) break;
    }
    return seqs;
  };
  const of = (name: string): string => callSubject("succeeded", "openfaas-fn", name);
  const all = Array.from({ length: count }, (_, at) => at + 1);

  it("reads each message once, the newest window first, in a window in the stream's order", async () => {
    const windows = await read();
    expect(windows.length).to.be.greaterThan(1);
    expect(windows[0]?.at(-1)).to.equal(count);
    expect(windows.toReversed().flat()).to.deep.equal(all);
  });

  it("gives only the newest to who wants no more", async () => {
    const [window, ...more] = await read({}, 1);
    expect([window?.at(-1), more.length, (window?.length ?? 0) < count]).to.deep.equal([count, 0, true]);
  });

  it("finds what is rare, and the end of what is behind it", async () => {
    const rare = (await read({ filter: of("rare") })).toReversed().flat();
    expect(rare).to.deep.equal(all.filter((seq) => (seq - 1) % 100 === 0));
    expect(await read({ filter: of("nobody") })).to.deep.equal([]);
    expect((await read({ filter: of("last") })).flat()).to.deep.equal([count - 1, count]);
  });

  it("hands over no more at a time than is asked for", async () => {
    const windows = await read({ windowMessages: 300 });
    expect(Math.max(...windows.map(({ length }) => length))).to.be.at.most(300);
    expect(windows.toReversed().flat()).to.deep.equal(all);
  });

  it("reads from a time on and up to a time", async () => {
    const [newest] = await collectTimes();
    const sinceMs = newest?.at(-1) ?? 0;
    // Whole milliseconds: the date of an event lies before it by a part of one.
    while (Date.now() <= sinceMs + 2) await admin.nc.flush();
    publish("later", "x");
    await admin.nc.flush();
    const since = new Date(Math.floor(sinceMs) + 2);
    expect((await read({ since })).flat()).to.deep.equal([count + 1]);
    expect((await read({ until: since })).toReversed().flat()).to.deep.equal(all);
    expect(await read({ since: new Date(Date.now() + 60_000) })).to.deep.equal([]);
    expect(await read({ until: new Date(beganMs - 60_000) })).to.deep.equal([]);
  });
  const collectTimes = async (): Promise<number[][]> => {
    const times: number[][] = [];
    const options = { stream: streams.CALLS, filter: callAnyFilter, since: new Date(beganMs) };
    for await (const messages of readBack(bus, options)) times.push(messages.map(({ atMs }) => atMs));
    return times;
  };

  it("leaves out data where headers are enough", async () => {
    const options = { stream: streams.CALLS, filter: of("last"), since: new Date(beganMs), headersOnly: true };
    for await (const messages of readBack(bus, options))
      for (const { data, headerText } of messages)
        expect([data.length, headerValue(headerText(), "ce-type")]).to.deep.equal([0, "io.busker.call.succeeded"]);
  });

  it("hands over no more at a time where many lie behind a stretch without any", async () => {
    for (let at = 0; at < 600; at += 1) publish("dense", `d${at}`);
    for (let at = 0; at < 2000; at += 1) publish("busy", `b${at}`);
    await admin.nc.flush();
    const windows = await read({ filter: of("dense"), windowMessages: 100 });
    expect(Math.max(...windows.map(({ length }) => length))).to.be.at.most(100);
    expect(windows.flat()).to.have.length(600);
  });

  it("tells what came after it has begun to nobody", async () => {
    const before = await readLastSeq(bus, streams.CALLS);
    const seqs: number[] = [];
    const options = { stream: streams.CALLS, filter: callAnyFilter, since: new Date(beganMs) };
    for await (const messages of readBack(bus, options)) {
      seqs.push(...messages.map(({ seq }) => seq));
      publish("busy", "late");
      await admin.nc.flush();
    }
    expect(Math.max(...seqs)).to.equal(before);
    expect([seqs.length, new Set(seqs).size]).to.deep.equal([before, before]);
  });

  it("rejects with what the server says of a filter that it does not take", async () => {
    const rejected = await read({ filter: callFilter("openfaas-fn", "busy") }).catch((error: unknown) => error);
    expect(rejected).to.include({ code: "bus_unavailable" });
  });
});
