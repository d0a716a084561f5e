import { join } from "node:path";
import { expect } from "chai";
import { backOffMs, nextWaitMs } from "./back-off.ts";
import { startTimeOf } from "./data-lock.ts";
import { formatLogLine } from "./log-line.ts";
import { supervise, type Supervised } from "./supervise.ts";

const file = join(import.meta.dirname, "fixtures/service.mjs");

/** Lines as they come, and a promise for the first that matches. */
const createLines = () => {
  const lines: string[] = [];
  const waiting: { pattern: RegExp; done: (line: string) => void }[] = [];
  const report = (line: string): void => {
    lines.push(line);
    for (const { pattern, done } of waiting) if (pattern.test(line)) done(line);
  };
  const saw = (pattern: RegExp): Promise<string> => {
    const found = lines.find((line) => pattern.test(line));
    return found === undefined ? new Promise((done) => waiting.push({ pattern, done })) : Promise.resolve(found);
  };
  return { lines, report, saw };
};

describe("supervise()", () => {
  let service: Supervised | undefined;
  let lines: ReturnType<typeof createLines>;
  const start = (mode: string): Supervised => {
    lines = createLines();
    service = supervise({ name: "svc", file, env: { PATH: process.env["PATH"], MODE: mode } }, lines.report);
    return service;
  };
  const pidOf = (line: string): number => Number(/pid=(\d+)/.exec(line)?.[1]);

  afterEach(() => service?.kill());

  it("prefixes a service's lines and tells it that its parent watches over it by standard input", async () => {
    start("orderly");
    expect(await lines.saw(/started/)).to.match(/^svc \| started pid=\d+ parent=stdin$/);
    expect(await lines.saw(/plain/)).to.equal("svc | plain line");
  });

  it("stops a service by SIGTERM and lets it finish", async () => {
    const running = start("orderly");
    const pid = pidOf(await lines.saw(/started/));
    await lines.saw(/plain/);
    await running.stop(5000);
    await lines.saw(/goodbye/);
    expect([startTimeOf(pid), running.deaths()]).to.deep.equal([undefined, 0]);
  });

  it("kills a service that does not stop within its grace, because Ctrl-C must end", async () => {
    const running = start("stubborn");
    const pid = pidOf(await lines.saw(/started/));
    await lines.saw(/plain/);
    await running.stop(50);
    expect(startTimeOf(pid)).to.equal(undefined);
  });

  it("starts a service again that dies, each time later, and says so in one line", async () => {
    const running = start("crash");
    await lines.saw(/starting it again in 200 ms/);
    const restarts = lines.lines.filter((line) => line.startsWith("busker: "));
    expect(restarts).to.deep.equal([
      "busker: svc ended with code 3; starting it again in 100 ms",
      "busker: svc ended with code 3; starting it again in 200 ms",
    ]);
    await running.stop(1000);
    expect(running.deaths()).to.equal(2);
  });

  it("starts a service again that was killed with -9", async () => {
    start("orderly");
    const pid = pidOf(await lines.saw(/started/));
    process.kill(pid, "SIGKILL");
    await lines.saw(/ended by SIGKILL/);
    await lines.saw(new RegExp(`pid=(?!${pid}\\b)`));
  });
});

describe("nextWaitMs()", () => {
  it("doubles from 100 ms to 10 s, and begins anew after a life that was long enough", () => {
    const waits: number[] = [];
    for (let death = 0; death < 9; death += 1) waits.push(nextWaitMs(waits.at(-1), 50));
    expect(waits).to.deep.equal([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    expect(nextWaitMs(10_000, backOffMs.longest + 1)).to.equal(100);
  });
});

describe("formatLogLine()", () => {
  const cases = [
    {
      line: '{"at":"x","level":"info","service":"gateway","message":"listening","port":1}',
      shown: "gw | listening port=1",
    },
    { line: '{"level":"error","message":"failed","why":"no bus"}', shown: "gw | error: failed why=no bus" },
    { line: "(node:1) Warning", shown: "gw | (node:1) Warning" },
    { line: '{"other":1}', shown: 'gw | {"other":1}' },
  ];
  for (const { line, shown } of cases)
    it(`shows ${line} as ${shown}`, () => {
      expect(formatLogLine("gw", line)).to.equal(shown);
    });
});
