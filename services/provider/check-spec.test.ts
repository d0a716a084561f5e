import { expect } from "chai";
import { checkSpec } from "./check-spec.ts";

const name = { namespace: "openfaas-fn", name: "f" };
const good = { ...name, image: "bundle:sha256:0", envProcess: "cat" };

describe("checkSpec()", () => {
  const fine: readonly object[] = [
    {},
    { envProcess: undefined, envVars: { mode: "handler" } },
    { envProcess: undefined, envVars: { fprocess: "cat" } },
    { envVars: { exec_timeout: "1m30s", max_inflight: "4", log_callid: "TRUE", mode: "" } },
    { limits: { memory: "128Mi", cpu: "100m" }, requests: { cpu: "0.5" } },
    { labels: { "com.openfaas.scale.min": "2", "com.openfaas.scale.max": "2" } },
    { annotations: { "com.busker.stream.resume": "true" } },
    { annotations: { "com.busker.stream.resume": "false", any: "other" } },
    { annotations: { "com.busker.user": "image", "com.busker.zero": "freeze" } },
    { annotations: { "com.busker.zero": "keep", "com.busker.zero.stop-after": "36h" } },
    { annotations: { "com.busker.user": "1000:0", "com.busker.image-pull-policy": "IfNotPresent" } },
    { annotations: { "com.busker.result.ttl": "30m", "com.busker.record": "bodies" } },
    { annotations: { "com.busker.record": "none" } },
    { annotations: { "com.openfaas.retry.attempts": "3", "com.openfaas.retry.codes": "429, 503" } },
    { limits: { "nvidia.com/gpu": "1" } },
  ];
  for (const more of fine)
    it(`takes ${JSON.stringify(more)}`, () => {
      expect(checkSpec({ ...good, ...more }, name)).to.deep.include({ image: good.image });
    });

  const faulty: readonly (readonly [unknown, string])[] = [
    [undefined, "spec must be an object"],
    [{ ...good, name: "g" }, "name must be that of the subject, f"],
    [{ ...good, namespace: "x" }, "namespace must be that of the subject"],
    [{ ...good, image: 5 }, "image must be text; got 5"],
    [{ ...good, envVars: { a: 1 } }, 'envVars must be a map of texts; got {"a":1}'],
    [{ ...good, labels: [] }, "labels must be a map of texts"],
    [{ ...good, secrets: "s" }, "secrets must be a list of texts"],
    [{ ...good, envVars: { "a=b": "c" } }, "names without ="],
    [{ ...good, envVars: { a: "b\0" } }, "envVars.a must hold no NUL"],
    [{ ...good, envVars: { mode: "magic" } }, "envVars.mode must be one of streaming"],
    [{ ...good, envVars: { exec_timeout: "soon" } }, "envVars.exec_timeout must be a duration"],
    [{ ...good, envVars: { write_timeout: "0s" } }, "envVars.write_timeout must be a duration of more than 0"],
    [{ ...good, envVars: { max_inflight: "-1" } }, "envVars.max_inflight must be a whole number of at least 0"],
    [{ ...good, envVars: { max_inflight: "1.5" } }, "envVars.max_inflight must be"],
    [{ ...good, envVars: { pool_size: "0" } }, "envVars.pool_size must be a whole number of at least 1"],
    [{ ...good, envVars: { prefix_logs: "yes" } }, "envVars.prefix_logs must be true, false, 1 or 0"],
    [{ ...good, envVars: { upstream_url: "localhost" } }, "envVars.upstream_url must be an address"],
    [{ ...good, envVars: { ready_path: "ready" } }, "envVars.ready_path must be a path"],
    [{ ...good, envProcess: " " }, "envProcess must be a command in mode streaming"],
    [{ ...good, limits: { memory: "lots" } }, 'limits.memory must be an amount of bytes such as 128Mi; got "lots"'],
    [{ ...good, requests: { cpu: "half" } }, "requests.cpu must be an amount of cores"],
    [{ ...good, labels: { "com.openfaas.scale.min": "one" } }, "label com.openfaas.scale.min must be a whole number"],
    [
      { ...good, annotations: { "com.busker.stream.resume": "yes" } },
      'annotation com.busker.stream.resume must be true or false; got "yes"',
    ],
    [{ ...good, annotations: { "com.busker.usr": "0" } }, "annotation com.busker.usr is unknown; those of Busker are"],
    [{ ...good, annotations: { "com.busker.user": "root" } }, "annotation com.busker.user must be image, or ids"],
    [{ ...good, annotations: { "com.busker.zero": "sleep" } }, "com.busker.zero must be stop, freeze or keep"],
    [{ ...good, annotations: { "com.busker.zero.stop-after": "0s" } }, "com.busker.zero.stop-after must be a duration"],
    [
      { ...good, labels: { "com.openfaas.scale.target": "0" } },
      "label com.openfaas.scale.target must be a number above 0",
    ],
    [
      { ...good, annotations: { "com.busker.on-success": "nats:busker.a" } },
      "com.busker.on-success must be nats: and a",
    ],
    [
      { ...good, annotations: { "com.busker.on-failure": "A b" } },
      "com.busker.on-failure must be NAME or NAME.NAMESPACE",
    ],
    [
      { ...good, annotations: { "com.busker.image-pull-policy": "always" } },
      'com.busker.image-pull-policy must be Always, IfNotPresent or Never; got "always"',
    ],
    [{ ...good, annotations: { "com.busker.registry-secret": "a/b" } }, "must be the name of a secret"],
    [{ ...good, annotations: { "com.busker.base-image": "" } }, "must be an image reference"],
    [{ ...good, image: "app:1", annotations: { "com.busker.base-image": "debian" } }, "is of bundles; the image is"],
    [{ ...good, annotations: { "com.busker.result.ttl": "1000h" } }, "must be a duration such as 30m, of 168h at most"],
    [
      { ...good, annotations: { "com.busker.result.ttl": "0" } },
      'must be a duration such as 30m, of 168h at most; got "0"',
    ],
    [{ ...good, annotations: { "com.busker.record": "all" } }, "com.busker.record must be none, calls or bodies"],
    [{ ...good, annotations: { "com.openfaas.retry.attempts": "0" } }, "must be a whole number from 1 to"],
    [
      { ...good, annotations: { "com.openfaas.retry.min_wait": "soon" } },
      "com.openfaas.retry.min_wait must be a duration",
    ],
    [{ ...good, limits: { "nvidia.com/gpu": "half" } }, "limits.nvidia.com/gpu must be a whole number"],
    [
      { ...good, labels: { "com.openfaas.scale.min": "3", "com.openfaas.scale.max": "2" } },
      "must be at least com.openfaas.scale.min, 3",
    ],
  ];
  for (const [spec, says] of faulty)
    it(`refuses ${JSON.stringify(spec)} with "${says}"`, () => {
      expect(() => checkSpec(spec, name))
        .to.throw(says)
        .with.property("code", "invalid_request");
    });

  it("names all faults at once, because nobody wants to learn them one by one", () => {
    const spec = { ...good, envVars: { mode: "magic", pool_size: "x" }, limits: { cpu: "x" } };
    expect(() => checkSpec(spec, name)).to.throw(/mode.*pool_size.*limits\.cpu/);
  });
});
