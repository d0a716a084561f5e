import { expect } from "chai";
import { BuskerError } from "../schemas/errors.ts";
import { readWatchdogConfig } from "./config.ts";

const base = { fprocess: "cat -n" };

const accepted: readonly (readonly [string, Record<string, string>, Record<string, unknown>])[] = [
  [
    "OpenFaaS' defaults",
    {},
    {
      mode: "streaming",
      command: ["cat", "-n"],
      execTimeoutMs: 60_000,
      maxInflight: 0,
      logBufferBytes: 65536,
      cgiHeaders: true,
      combineOutput: false,
      poolSize: 4,
    },
  ],
  ["function_process before fprocess, as of-watchdog does", { function_process: "wc  -l" }, { command: ["wc", "-l"] }],
  [
    "durations as Go writes them and as whole seconds",
    { exec_timeout: "1m30s", read_timeout: "5" },
    { execTimeoutMs: 90_000, readTimeoutMs: 5000 },
  ],
  ["exec_timeout 0 as the longest there is", { exec_timeout: "0" }, { execTimeoutMs: 24 * 3600_000 }],
  [
    "healthcheck_interval as write_timeout when it is not set",
    { write_timeout: "7s" },
    { healthcheckIntervalMs: 7000 },
  ],
  [
    "no fprocess in mode static, which runs nothing",
    { fprocess: "", mode: "static" },
    { command: [], staticPath: "/home/app/public" },
  ],
  [
    "http_upstream_url before upstream_url",
    { upstream_url: "http://127.0.0.1:1", http_upstream_url: "http://127.0.0.1:2" },
    { upstreamUrl: "http://127.0.0.1:2" },
  ],
  ["a pool no larger than the slots", { max_inflight: "2" }, { poolSize: 2 }],
  ["an empty variable as one that is not set", { content_type: "", max_inflight: "" }, { maxInflight: 0 }],
  ["log_buffer_size -1 as a line of at most a mebibyte", { log_buffer_size: "-1" }, { logBufferBytes: 1024 * 1024 }],
];

const images: readonly (readonly [string, Record<string, string>, readonly string[], Record<string, unknown>])[] = [
  ["the image's own command word by word", {}, ["/app", "a b"], { mode: "streaming", command: ["/app", "a b"] }],
  ["fprocess before the image's command", { fprocess: "wc -l" }, ["/app"], { command: ["wc", "-l"] }],
  [
    "an OpenFaaS watchdog as an http function, whose settings are its own",
    { mode: "http", fprocess: "python index.py", upstream_url: "http://127.0.0.1:5000", ready_path: "/ready" },
    ["fwatchdog"],
    {
      mode: "http",
      command: ["fwatchdog"],
      upstreamUrl: "http://127.0.0.1:8080",
      readyPath: "/_/ready",
      inner: { upstreamUrl: "http://127.0.0.1:5000" },
    },
  ],
  [
    "one behind an init and a shell, on the port that it is told",
    { port: "8081", upstream_url: "http://127.0.0.1:5000" },
    ["/sbin/tini", "--", "/bin/sh", "-c", "exec /usr/bin/fwatchdog"],
    { mode: "http", upstreamUrl: "http://127.0.0.1:8081", readyPath: "", inner: {} },
  ],
  ["a command that only names one as what it is", {}, ["cat", "my-fwatchdog"], { mode: "streaming" }],
];

const refused: readonly (readonly [Record<string, string>, string])[] = [
  [{ mode: "afterburn" }, 'mode must be one of streaming, serializing, http, static, handler, pool; got "afterburn"'],
  [{ fprocess: " " }, "fprocess must be a command in mode streaming"],
  [{ write_timeout: "0" }, 'write_timeout must be a duration of more than 0, such as 30s; got "0"'],
  [{ exec_timeout: "soon" }, 'exec_timeout must be a duration such as 30s, 1m30s or a number of seconds; got "soon"'],
  [{ max_inflight: "-1" }, 'max_inflight must be a whole number of at least 0; got "-1"'],
  [{ combine_output: "perhaps" }, 'combine_output must be true, false, 1 or 0; got "perhaps"'],
  [
    { upstream_url: "127.0.0.1:3000" },
    'upstream_url must be an address such as http://127.0.0.1:3000; got "127.0.0.1:3000"',
  ],
  [{ ready_path: "ready" }, "ready_path must be a path that begins with /"],
];

const faultsOf = (env: Record<string, string>): BuskerError | undefined => {
  try {
    readWatchdogConfig(env);
  } catch (error) {
    return error instanceof BuskerError ? error : undefined;
  }
  return undefined;
};

describe("readWatchdogConfig()", () => {
  for (const [what, env, expected] of accepted)
    it(`takes ${what}`, () => {
      expect(readWatchdogConfig({ ...base, ...env })).to.deep.include(expected);
    });

  for (const [what, env, image, expected] of images)
    it(`takes ${what}`, () => {
      expect(readWatchdogConfig(env, image)).to.deep.include(expected);
    });

  it("refuses an image without a command, saying that it has none", () => {
    expect(() => readWatchdogConfig({}, [])).to.throw("the image has neither ENTRYPOINT nor CMD");
  });

  for (const [env, message] of refused)
    it(`refuses ${JSON.stringify(env)}, naming key, rule and value`, () => {
      const error = faultsOf({ ...base, ...env });
      expect(error?.code).to.equal("invalid_request");
      expect(error?.message).to.contain(message);
    });

  it("names all faults at once, because a person mends them at once", () => {
    const message = faultsOf({ mode: "x", max_inflight: "y", exec_timeout: "z" })?.message;
    for (const key of ["mode", "fprocess", "max_inflight", "exec_timeout"])
      expect(message).to.contain(`${key} must be`);
  });
});
