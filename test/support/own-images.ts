import { execFile } from "node:child_process";
import { realpathSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import type Docker from "dockerode";
import { readElfFile } from "../../services/provider/container/elf.ts";
import { findNodeFiles } from "../../services/provider/container/node-files.ts";
import { busyboxFiles, type ImageFile, makeImage } from "./images.ts";

const root = resolve(import.meta.dirname, "../..");

/** Runs a command, with its end of output as the error when it fails. */
export const run = async (
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  timeoutMs = 120_000,
): Promise<string> => {
  const options = {
    cwd: root,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: homedir(),
      DOCKER_CONFIG: join(tmpdir(), "busker-docker-config"),
      ...env,
    },
    timeout: timeoutMs,
  };
  const { stdout } = await promisify(execFile)(command, args, { ...options, maxBuffer: 2 ** 26 });
  return stdout;
};

const within = (path: string): string => path.replace(/^\//, "");

/** This machine's Node with all that it loads, each at its own path. */
const nodeImageFiles = (): Readonly<Record<string, ImageFile>> => {
  const { node, libraries } = findNodeFiles();
  const { interpreter = "" } = readElfFile(node);
  return {
    "usr/bin/node": { from: node },
    [within(interpreter)]: { from: realpathSync(interpreter) },
    ...Object.fromEntries([...libraries].map(([name, path]) => [within(join(dirname(path), name)), { from: path }])),
  };
};

/** A program of Debian's under the name that it has in images, with its C library. */
const programFiles = (program: string, name: string): Readonly<Record<string, ImageFile>> => {
  const { interpreter = "", needed } = readElfFile(program);
  const { libraries } = findNodeFiles();
  return {
    [`usr/bin/${name}`]: { from: program },
    ...(interpreter === "" ? {} : { [within(interpreter)]: { from: realpathSync(interpreter) } }),
    ...Object.fromEntries(
      needed.map((library) => {
        const path = libraries.get(library);
        if (path === undefined) throw new Error(`${program} needs ${library}, which Node does not`);
        return [within(join(dirname(path), basename(library))), { from: path }];
      }),
    ),
  };
};

const path = "ENV PATH=/usr/bin:/bin";

/** The images that compose.yaml and stack.yaml name, made on a test's engine from what this machine has; nothing is pulled. */
export const makeOwnImages = async (docker: Docker, socket: string): Promise<Readonly<Record<string, string>>> => {
  await makeImage(docker, { name: "node-base", files: { ...busyboxFiles, ...nodeImageFiles() }, changes: [path] });
  await makeImage(docker, {
    name: "nats",
    files: programFiles("/usr/sbin/nats-server", "nats-server"),
    changes: [path],
  });
  const engine = { DOCKER_HOST: `unix://${socket}`, DOCKER_BUILDKIT: "0" };
  await run("scripts/images", [], { ...engine, BUSKER_BASE: "node-base:1" }, 180_000);
  return { ...engine, BUSKER_IMAGE: "busker:latest", BUSKER_NATS_IMAGE: "nats:1" };
};

// Debian's Alertmanager does not start without its texts, whatever it is to send.
const templates = ["default.tmpl", "email.tmpl"].map((name) => `/usr/share/prometheus/alertmanager/${name}`);

/** The same of what compose.observe.yaml names, but for Grafana, which Debian does not have. */
export const makeWatcherImages = async (docker: Docker): Promise<Readonly<Record<string, string>>> => {
  const prometheus = programFiles("/usr/bin/prometheus", "prometheus");
  const alertmanager = {
    ...programFiles("/usr/bin/prometheus-alertmanager", "alertmanager"),
    ...Object.fromEntries(templates.map((from) => [within(from), { from }])),
  };
  await makeImage(docker, { name: "prometheus", files: prometheus, changes: [path] });
  await makeImage(docker, { name: "alertmanager", files: alertmanager, changes: [path] });
  return { BUSKER_PROMETHEUS_IMAGE: "prometheus:1", BUSKER_ALERTMANAGER_IMAGE: "alertmanager:1" };
};
