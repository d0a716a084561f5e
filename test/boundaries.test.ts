import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { expect } from "chai";

const root = resolve(import.meta.dirname, "..");

/** One violating or allowed line, in the file it would stand in. */
interface Case {
  readonly file: string;
  readonly line: string;
  readonly rule?: string;
}

const restricted = "eslint(no-restricted-imports)";
const imports = (file: string, from: string, rule?: string): Case => ({
  file,
  line: `import * as it from "${from}"; console.log(it);`,
  ...(rule === undefined ? {} : { rule }),
});

const refused: readonly Case[] = [
  imports("schemas/a.ts", "../services/bus/connect.ts", restricted),
  imports("schemas/b.ts", "node:fs", restricted),
  imports("schemas/c.ts", "nats", restricted),
  imports("services/bus/a.ts", "../gateway/routes.ts", restricted),
  imports("services/bus/b.ts", "../runtime/log.ts", restricted),
  imports("services/bus/c.ts", "koa", restricted),
  imports("services/runtime/a.ts", "../bus/connect.ts", restricted),
  imports("services/runtime/b.ts", "@nats-io/kv", restricted),
  imports("services/gateway/a.ts", "nats", restricted),
  imports("services/gateway/b.ts", "@nats-io/jetstream", restricted),
  imports("services/gateway/c.ts", "../provider/reconcile.ts", restricted),
  imports("services/gateway/routes/d.ts", "../../provider/reconcile.ts", restricted),
  imports("services/gateway/e.ts", "dockerode", restricted),
  imports("services/gateway/f.ts", "prom-client", restricted),
  imports("services/gateway/f2.ts", "@opentelemetry/api", restricted),
  imports("watchdog/c.ts", "@opentelemetry/api", restricted),
  imports("services/gateway/g.ts", "../../watchdog/replica.ts", restricted),
  imports("services/gateway/h.test.ts", "../provider/reconcile.ts", restricted),
  imports("services/provider/a.ts", "koa", restricted),
  imports("services/provider/b.ts", "rxjs", restricted),
  imports("services/queue-worker/a.ts", "../scaler/rules.ts", restricted),
  imports("services/scaler/a.ts", "dockerode", restricted),
  imports("services/triggers/a.ts", "../queue-worker/take.ts", restricted),
  imports("services/portal/a.ts", "../gateway/routes.ts", restricted),
  imports("services/cli/a.ts", "../gateway/routes.ts", restricted),
  imports("services/cli/b.ts", "ajv", restricted),
  imports("watchdog/a.ts", "../services/provider/backend.ts", restricted),
  imports("watchdog/b.ts", "nats", restricted),
  { file: "services/cli/env.ts", line: "console.log(process.env);", rule: "node(no-process-env)" },
  { file: "services/cli/default.ts", line: "export default 1;", rule: "import(no-default-export)" },
  { file: "services/cli/ring.ts", line: 'import "./ring2.ts"; export const ring = 1;', rule: "import(no-cycle)" },
];

const allowed: readonly Case[] = [
  imports("schemas/ok.ts", "./names.ts"),
  imports("schemas/ok2.ts", "ajv"),
  imports("schemas/ok.test.ts", "node:fs"),
  imports("services/bus/ok.ts", "../../schemas/names.ts"),
  imports("services/bus/ok2.ts", "nats"),
  imports("services/runtime/ok.ts", "prom-client"),
  imports("services/runtime/ok2.ts", "@opentelemetry/api"),
  imports("services/gateway/ok.ts", "koa"),
  imports("services/gateway/ok2.ts", "../bus/connect.ts"),
  imports("services/gateway/ok3.ts", "../runtime/log.ts"),
  imports("services/provider/ok.ts", "dockerode"),
  imports("services/scaler/ok.ts", "rxjs"),
  imports("watchdog/ok.ts", "../services/bus/connect.ts"),
  imports("test/ok.test.ts", "nats"),
  { file: "services/cli/main.ts", line: "console.log(process.env);" },
];

const support: readonly Case[] = [
  { file: "services/cli/ring2.ts", line: 'import "./ring.ts"; export const ring = 1;' },
];

/** Lints a tree made of all cases with this project's configuration: the rules found, by file. */
const lint = async (folder: string): Promise<Map<string, string[]>> => {
  cpSync(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
  for (const { file, line } of [...refused, ...allowed, ...support]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), `${line}\n`);
  }
  const oxlint = join(root, "node_modules/oxlint/bin/oxlint");
  const output = await new Promise<string>((done) => {
    execFile(process.execPath, [oxlint, "--format=json"], { cwd: folder }, (_fault, stdout) => done(stdout));
  });
  const { diagnostics } = JSON.parse(output) as { diagnostics: { code: string; filename: string }[] };
  const found = new Map<string, string[]>();
  for (const { code, filename } of diagnostics) found.set(filename, [...(found.get(filename) ?? []), code]);
  return found;
};

describe("the lint rules that hold the boundaries", () => {
  let found: Map<string, string[]>;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "busker-lint-"));
    found = await lint(folder);
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const { file, line, rule } of refused)
    it(`oxlint refuses \`${line.split(";")[0]}\` in ${file}, by ${rule}`, () => {
      expect(found.get(file)).to.include(rule);
    });

  for (const { file, line } of allowed)
    it(`oxlint allows \`${line.split(";")[0]}\` in ${file}, because that is where it belongs`, () => {
      expect(found.get(file) ?? []).to.deep.equal([]);
    });
});
