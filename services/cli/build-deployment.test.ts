import { expect } from "chai";
import { buildDeployment } from "./build-deployment.ts";
import { type FunctionSettings, readFunctionFile } from "./function-file.ts";

const image = `bundle:sha256:${"0".repeat(64)}`;
const base = { service: "fn", namespace: "openfaas-fn", image };
const build = (file: FunctionSettings, flags: FunctionSettings = {}, paths: readonly string[] = []) =>
  buildDeployment({ name: "fn", namespace: "openfaas-fn", image, file, flags, paths });

describe("buildDeployment()", () => {
  for (const handler of ["handler.mjs", "handler.js", "index.js"])
    it(`takes a folder with ${handler} for mode handler, because that is what a folder without a word means`, () => {
      expect(build({}, {}, ["package.json", handler])).to.deep.equal({ ...base, envVars: { mode: "handler" } });
    });

  it("keeps an environment that was given when it detects the mode", () => {
    expect(build({ environment: { A: "1" } }, {}, ["handler.mjs"]).envVars).to.deep.equal({ A: "1", mode: "handler" });
  });

  it("refuses a folder that it cannot tell how to run, naming --fprocess and what it found", () => {
    expect(() => build({}, {}, ["lib/handler.mjs", "main.py"]))
      .to.throw()
      .with.property("message")
      .that.matches(/--fprocess.*found lib\/handler\.mjs, main\.py/);
  });

  it("lets the command line win over function.yaml key by key, because it was said last", () => {
    const file = { fprocess: "cat", environment: { A: "file", B: "file" }, limits: { memory: "64Mi", cpu: "100m" } };
    const flags = { fprocess: "wc", environment: { A: "flag" }, limits: { memory: "1Gi" } };
    expect(build(file, flags)).to.deep.equal({
      ...base,
      envProcess: "wc",
      envVars: { A: "flag", B: "file" },
      limits: { memory: "1Gi", cpu: "100m" },
    });
  });

  it("leaves out what is empty, because the status must echo what was deployed and absent is not empty", () => {
    expect(build({ fprocess: "cat", labels: {} }, { environment: {}, limits: {} })).to.deep.equal({
      ...base,
      envProcess: "cat",
    });
  });

  it("refuses a mode that runs a command for a folder that has none, because another mode would surprise", () => {
    expect(() => build({}, { environment: { mode: "http" } }, ["handler.mjs"]))
      .to.throw()
      .with.property("message")
      .that.matches(/mode http runs a command, and there is none: give it with --fprocess/);
  });

  it("refuses a mode that is none, naming those there are", () => {
    expect(() => build({ fprocess: "cat", environment: { mode: "turbo" } }))
      .to.throw()
      .with.property("message")
      .that.matches(/mode must be one of streaming, .*; got "turbo"/);
  });

  it("needs no command in mode static, because the watchdog itself serves the files", () => {
    expect(build({ environment: { mode: "static" } }).envVars).to.deep.equal({ mode: "static" });
  });
});

describe("readFunctionFile()", () => {
  it("reads numbers and booleans of an environment as texts, because an environment has nothing else", () => {
    expect(readFunctionFile("environment: {exec_timeout: 30, write_debug: true}")).to.deep.equal({
      environment: { exec_timeout: "30", write_debug: "true" },
    });
  });

  it("gives nothing for an empty file", () => {
    expect(readFunctionFile("# nothing yet\n")).to.deep.equal({});
  });

  const faults = [
    { source: "fproces: cat", says: /fproces is not a key of function\.yaml \(those are fprocess, namespace/ },
    { source: "environment: [A=1]", says: /environment must be a map from names to texts; got \["A=1"\]/ },
    { source: "environment: {A: {B: 1}}", says: /environment must be a map/ },
    { source: "secrets: all", says: /secrets must be a list of texts; got "all"/ },
    { source: "readonly_root_filesystem: maybe", says: /readonly_root_filesystem must be true or false/ },
    { source: "secrets: x\nlabels: y", says: /secrets .*; labels / },
    { source: "- a\n- b", says: /must be a map of keys to values/ },
    { source: "a: [", says: /it is not YAML/ },
  ];
  for (const { source, says } of faults)
    it(`refuses ${JSON.stringify(source)}, naming the key and the rule`, () => {
      expect(() => readFunctionFile(source))
        .to.throw()
        .with.property("message")
        .that.matches(says);
    });
});
