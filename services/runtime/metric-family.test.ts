import { expect } from "chai";
import { addFamily, type Line, Registry, serveMetrics } from "./metrics.ts";

const scrape = async (registry: Registry): Promise<readonly string[]> => {
  const server = await serveMetrics(registry, "127.0.0.1", 0);
  try {
    const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    return [String(response.status), ...(await response.text()).split("\n")];
  } finally {
    await server.stop();
  }
};

const gauge = (collect: () => Iterable<Line>) => {
  const registry = new Registry();
  addFamily(registry, { name: "g", help: "what it is", type: "gauge", collect });
  return registry;
};

describe("addFamily()", () => {
  it("writes a histogram with its classes summed up, as Prometheus has them", async () => {
    const registry = new Registry();
    const collect = () => [{ labels: { a: "x" }, value: { counts: [1, 0, 2], sum: 0.5 } }];
    addFamily(registry, { name: "h", help: "what it is", type: "histogram", collect });
    const lines = await scrape(registry);
    expect(lines.slice(1, 7)).to.deep.equal([
      "# HELP h what it is",
      "# TYPE h histogram",
      'h_bucket{le="0.001",a="x"} 1',
      'h_bucket{le="0.0025",a="x"} 1',
      'h_bucket{le="0.005",a="x"} 3',
      'h_bucket{le="0.01",a="x"} 3',
    ]);
    expect(lines.slice(-5)).to.deep.equal([
      'h_bucket{le="300",a="x"} 3',
      'h_bucket{le="+Inf",a="x"} 3',
      'h_sum{a="x"} 0.5',
      'h_count{a="x"} 3',
      "",
    ]);
  });

  it("writes values beyond the last class into the sum of all", async () => {
    const registry = new Registry();
    const counts = [...Array.from({ length: 16 }, () => 0), 4];
    addFamily(registry, {
      name: "h",
      help: "h",
      type: "histogram",
      collect: () => [{ labels: {}, value: { counts, sum: 2000 } }],
    });
    const lines = await scrape(registry);
    expect(lines).to.include.members(['h_bucket{le="300"} 0', 'h_bucket{le="+Inf"} 4', "h_count 4"]);
  });

  it("writes many lines in pages, each line once under one head", async () => {
    const values = Array.from({ length: 5001 }, (_, at) => ({ labels: { at: String(at) }, value: at }));
    const [, help, type, ...lines] = await scrape(gauge(() => values));
    expect([help, type]).to.deep.equal(["# HELP g what it is", "# TYPE g gauge"]);
    expect(lines).to.deep.equal([...values.map(({ value }) => `g{at="${value}"} ${value}`), ""]);
  });

  it("writes the head of a family that has nothing", async () =>
    expect(await scrape(gauge(() => []))).to.deep.equal(["200", "# HELP g what it is", "# TYPE g gauge", ""]));

  it("escapes what a label holds", async () =>
    expect(await scrape(gauge(() => [{ labels: { a: 'b"\\\n' }, value: 1 }]))).to.include('g{a="b\\"\\\\\\n"} 1'));

  it("has a scrape answered with 500 when a family cannot be asked, and nothing else happens", async () => {
    const registry = gauge(() => {
      throw new Error("not now");
    });
    expect(await scrape(registry)).to.deep.equal(["500", "not now", ""]);
  });
});
