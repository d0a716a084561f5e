import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { pullPolicyAnnotation, registrySecretAnnotation } from "../schemas/annotations.ts";
import { BuskerError, type ErrorCode } from "../schemas/errors.ts";
import type { FunctionSpec } from "../schemas/function.ts";
import { defaultNamespace as namespace } from "../schemas/names.ts";
import { type Images, openImages } from "../services/provider/container/images.ts";
import type { PullPolicy } from "../services/provider/container/pull-policy.ts";
import { startTestEngine, type TestEngine } from "./support/engine.ts";
import { busyboxFiles, makeImage } from "./support/images.ts";
import { pushImage, registryUser, startTestRegistry, type TestRegistry } from "./support/registry.ts";

/*
 * Images from registries, on a real engine and real registries: one that anybody may read, one that asks for a password.
 */

const pair = `${registryUser.username}:${registryUser.password}`;
const auth = Buffer.from(pair).toString("base64");

/** The error of a promise that must reject with one of the catalogue. */
const refusal = async (work: Promise<unknown>): Promise<BuskerError> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof BuskerError) return error;
  throw new Error(`it was not refused: ${String(error)}`);
};

describe("openImages()", function () {
  this.timeout(60_000);
  let engine: TestEngine;
  let open: TestRegistry;
  let guarded: TestRegistry;
  let folder: string;
  let configFile: string;
  const opened: Images[] = [];
  const secrets = new Map<string, string>();
  /** Pulls that the engine was asked for, and looks at an image that it has. */
  let pulls = 0;
  let looks = 0;

  /** Makes an image that differs from all others by `text` and puts it into a registry. */
  const publish = async (registry: TestRegistry, repository: string, tag: string, text = tag): Promise<string> => {
    await makeImage(engine.docker, {
      name: "made",
      files: { ...busyboxFiles, text: { text: `${repository} ${text}` } },
      changes: ["CMD cat", `ENV TEXT=${text}`],
    });
    const { Id } = await engine.docker.getImage("made:1").inspect();
    await pushImage(engine.docker, { image: "made:1", registry, repository, tag });
    await engine.docker.getImage("made:1").remove();
    return Id;
  };
  const images = (policy: PullPolicy = "IfNotPresent"): Images => {
    const made = openImages({
      docker: engine.docker,
      policy,
      registryConfigFile: configFile,
      secrets: {
        read: ({ name }) => {
          const value = secrets.get(name);
          if (value === undefined) throw new BuskerError("secret_not_found", `there is no secret ${name}.${namespace}`);
          return Buffer.from(value);
        },
      },
    });
    opened.push(made);
    return made;
  };
  const spec = (image: string, annotations: Record<string, string> = {}): FunctionSpec => ({
    name: "fn",
    namespace,
    image,
    annotations,
  });
  const silent = (): void => {};
  const ensure = (image: string, annotations?: Record<string, string>, policy?: PullPolicy) =>
    images(policy).ensure(spec(image, annotations), silent);
  const localIds = async (): Promise<readonly string[]> => (await engine.docker.listImages()).map(({ Id }) => Id);

  before(async () => {
    [engine, open, guarded] = await Promise.all([startTestEngine(), startTestRegistry(), startTestRegistry(true)]);
    const pull = engine.docker.createImage.bind(engine.docker) as unknown as (
      auth: unknown,
      options: object,
    ) => Promise<never>;
    engine.docker.createImage = ((login: unknown, options: object) => {
      pulls += 1;
      return pull(login, options);
    }) as never;
    const look = engine.docker.getImage.bind(engine.docker);
    engine.docker.getImage = (name) => {
      looks += 1;
      return look(name);
    };
    folder = await mkdtemp(join(tmpdir(), "busker-images-"));
  });
  after(async () => {
    await Promise.all([engine?.stop(), open?.remove(), guarded?.remove()]);
    if (folder) await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    configFile = join(folder, "not-there.json");
    secrets.clear();
  });
  afterEach(async () => {
    for (const each of opened.splice(0)) each.close();
    for (const { Id } of await engine.docker.listImages()) await engine.docker.getImage(Id).remove({ force: true });
  });

  it("pulls an image that anybody may have, tells of it, and gives its content id and configuration", async () => {
    const id = await publish(open, "a/public", "1");
    const told: string[] = [];
    const image = `${open.host}/a/public:1`;
    const found = await images().ensure(spec(image), (progress) => told.push(progress));
    expect(found.id).to.equal(id);
    expect(found.config.Env).to.include("TEXT=1");
    expect(told[0]).to.equal(`pulling ${image}`);
  });

  it("pulls by digest what a tag does not name any more", async () => {
    const old = await publish(open, "digest", "1", "old");
    await ensure(`${open.host}/digest:1`);
    const { RepoDigests } = await engine.docker.getImage(old).inspect();
    const digest = RepoDigests.find((name) => name.startsWith(open.host)) ?? "";
    await publish(open, "digest", "1", "new");
    await engine.docker.getImage(old).remove({ force: true });
    expect((await ensure(digest)).id).to.equal(old);
    expect((await ensure(digest, {}, "Always")).id).to.equal(old);
  });

  it("pulls once for two functions that want the same image at the same time", async () => {
    await publish(open, "shared", "1");
    const before = pulls;
    const both = images("Always");
    const image = `${open.host}/shared:1`;
    const told: string[] = [];
    const [one, two] = await Promise.all([
      both.ensure(spec(image), silent),
      both.ensure({ ...spec(image), name: "other" }, (progress) => told.push(progress)),
    ]);
    expect(one.id).to.equal(two.id);
    expect(told).to.not.be.empty;
    expect(pulls - before).to.equal(1);
    await both.ensure(spec(image), silent);
    expect(pulls - before).to.equal(2);
  });

  describe("with credentials", () => {
    let image: string;
    before(async () => {
      await publish(guarded, "private", "1");
      image = `${guarded.host}/private:1`;
    });
    const useConfig = async (config: object): Promise<void> => {
      configFile = join(folder, "config.json");
      await writeFile(configFile, JSON.stringify(config));
    };

    for (const [what, entry] of [
      ["auth", { auth }],
      ["username and password", registryUser],
    ] as const)
      it(`takes ${what} from config.json`, async () => {
        await useConfig({ auths: { [guarded.host]: entry } });
        expect((await ensure(image)).id).to.match(/^sha256:/);
      });
    for (const [what, value] of [
      ["user:password", () => pair],
      [
        "a config.json that names a helper too",
        () => JSON.stringify({ credsStore: "x", auths: { [guarded.host]: { auth } } }),
      ],
      ["a config.json", () => JSON.stringify({ auths: { [`http://${guarded.host}/v2/`]: { auth } } })],
    ] as const)
      it(`takes the function's own secret, which holds ${what}`, async () => {
        // Of the platform's own no use is made then.
        await useConfig({ auths: { [guarded.host]: { username: "busker", password: "wrong" } } });
        secrets.set("registry", value());
        expect((await ensure(image, { [registrySecretAnnotation]: "registry" })).id).to.match(/^sha256:/);
      });
    it("takes what a credential helper says, and says why it has nothing", async () => {
      const helper = join(folder, "docker-credential-test");
      const answer = JSON.stringify({ Username: registryUser.username, Secret: registryUser.password });
      await writeFile(helper, `#!/bin/sh\n[ "$1 $(cat)" = "get ${guarded.host}" ] && echo '${answer}'\n`, {
        mode: 0o755,
      });
      const path = process.env["PATH"];
      try {
        await useConfig({ credHelpers: { [guarded.host]: "test" } });
        expect((await refusal(ensure(image))).message).to.contain("docker-credential-test is not on PATH");
        process.env["PATH"] = `${folder}:${path}`;
        expect((await ensure(image)).id).to.match(/^sha256:/);
      } finally {
        process.env["PATH"] = path;
      }
    });

    const refused: readonly {
      readonly what: string;
      readonly secret?: string;
      readonly config?: () => object;
      readonly says: readonly (string | RegExp)[];
    }[] = [
      { what: "none", says: ["no basic auth credentials", "asked without credentials: there is no "] },
      {
        what: "those of another registry",
        config: () => ({ auths: { "ghcr.io": { auth } } }),
        says: ["no basic auth credentials", /asked without credentials: there are none for 127\.0\.0\.1:\d+ in/],
      },
      {
        what: "a wrong password",
        config: () => ({ auths: { [guarded.host]: { username: "busker", password: "wr0ng-pass" } } }),
        says: ["unauthorized: authentication required", "asked with the credentials in "],
      },
      {
        what: "a wrong password in a secret",
        secret: "busker:wr0ng-pass",
        says: ["unauthorized: authentication required", "asked with the credentials in secret registry"],
      },
      {
        what: "a secret of another form",
        secret: "wr0ng-pass",
        says: ["must hold user:password or a Docker config.json"],
      },
      { what: "a secret with broken JSON", secret: '{"auths": wr0ng-pass', says: ["it is not a JSON object"] },
      {
        what: "a secret with another registry's",
        secret: JSON.stringify({ auths: { "ghcr.io": { auth } } }),
        says: [/no password or token for 127\.0\.0\.1:\d+/],
      },
      {
        what: "a secret that names a helper",
        secret: JSON.stringify({ credsStore: "test" }),
        says: [/no password or token for 127\.0\.0\.1:\d+/],
      },
    ];
    for (const { what, secret, config, says } of refused)
      it(`refuses ${what} and repeats no credentials`, async () => {
        if (config) await useConfig(config());
        if (secret !== undefined) secrets.set("registry", secret);
        const error = await refusal(
          ensure(image, secret === undefined ? {} : { [registrySecretAnnotation]: "registry" }),
        );
        expect(error.code).to.equal("invalid_request");
        for (const text of says)
          if (typeof text === "string") expect(error.message).to.contain(text);
          else expect(error.message).to.match(text);
        expect(error.message).to.not.match(/wr0ng-pass|YnVza2Vy/);
        expect(await localIds()).to.be.empty;
      });
    it("refuses a secret that is not there", async () => {
      const error = await refusal(ensure(image, { [registrySecretAnnotation]: "registry" }));
      expect(error).to.include({ code: "invalid_request" });
      expect(error.message).to.contain("there is no secret registry.openfaas-fn");
    });
  });

  describe("refuses what cannot be pulled, with the engine's own reason, and leaves nothing:", () => {
    const cases: readonly (readonly [string, () => string, ErrorCode, string])[] = [
      ["an unknown image", () => `${open.host}/nobody/knows:1`, "invalid_request", "manifest unknown"],
      ["an unknown tag", () => `${open.host}/a/public:nope`, "invalid_request", "manifest unknown"],
      [
        "an unknown digest",
        () => `${open.host}/a/public@sha256:${"0".repeat(64)}`,
        "invalid_request",
        "manifest unknown",
      ],
      ["a bad reference", () => `${open.host}/A:1`, "invalid_request", "the name must be in lower case"],
      ["a registry of no such name", () => "nope.invalid/timeout:1", "registry_unavailable", "no such host"],
      ["a registry that does not listen", () => "127.0.0.1:1/denied:1", "registry_unavailable", "connection refused"],
    ];
    for (const [what, image, code, reason] of cases)
      it(what, async () => {
        const error = await refusal(ensure(image()));
        expect(error.code).to.equal(code);
        expect(error.message).to.contain(image()).and.contain(reason);
        expect(error.message).to.not.contain("HTTP code");
        expect(await localIds()).to.be.empty;
      });
    it("an image of an engine that is away", async () => {
      const { default: Docker } = await import("dockerode");
      const away = openImages({
        docker: new Docker({ socketPath: join(folder, "no.sock") }),
        policy: "IfNotPresent",
        registryConfigFile: configFile,
        secrets: { read: () => Buffer.alloc(0) },
      });
      const error = await refusal(away.ensure(spec("alpine"), silent));
      expect(error).to.include({ code: "provider_unavailable" });
      expect(error.message).to.contain("ENOENT");
    });
  });

  describe("with the policy", () => {
    let image: string;
    let first: string;
    beforeEach(async () => {
      first = await publish(open, "policy", "1", "first");
      image = `${open.host}/policy:1`;
    });

    it("Never gives what is here and pulls nothing", async () => {
      const error = await refusal(ensure(image, {}, "Never"));
      expect(error).to.include({
        code: "invalid_request",
        message: `image ${image} is not in the container engine, and its pull policy is Never`,
      });
      await ensure(image);
      expect((await ensure(image, {}, "Never")).id).to.equal(first);
    });
    it("IfNotPresent stays with what is here, also when the registry is away", async () => {
      await ensure(image);
      await publish(open, "policy", "1", "second");
      expect((await ensure(image)).id).to.equal(first);
      await open.stop();
      try {
        expect((await ensure(image)).id).to.equal(first);
      } finally {
        await open.start();
      }
    });
    it("Always takes the newest, and fails when the registry is away, though the image is here", async () => {
      await ensure(image);
      const second = await publish(open, "policy", "1", "second");
      expect((await ensure(image, { [pullPolicyAnnotation]: "Always" })).id).to.equal(second);
      await open.stop();
      try {
        const error = await refusal(ensure(image, { [pullPolicyAnnotation]: "Always" }));
        expect(error.code).to.equal("registry_unavailable");
        expect(error.message)
          .to.contain("connection refused")
          .and.contain("the image is here, but its pull policy is Always");
      } finally {
        await open.start();
      }
    });
    it("of an annotation rather than the platform's, which must be one of them", async () => {
      expect(await refusal(ensure(image, { [pullPolicyAnnotation]: "Never" }, "Always"))).to.include({
        code: "invalid_request",
      });
      const error = await refusal(ensure(image, { [pullPolicyAnnotation]: "always" }));
      expect(error.message).to.equal(
        `annotation ${pullPolicyAnnotation} must be Always, IfNotPresent or Never; got "always"`,
      );
    });
  });

  describe("ofRevision()", () => {
    let image: string;
    let first: string;
    beforeEach(async () => {
      first = await publish(open, "revision", "1", "first");
      image = `${open.host}/revision:1`;
    });
    const of = (revision: string, annotations?: Record<string, string>) => ({
      spec: spec(image, annotations),
      revision,
    });

    it("stays with what was deployed when the tag moves, and asks no registry again", async () => {
      const own = images("Always");
      (await own.ensure(spec(image), silent)).release();
      const second = await publish(open, "revision", "1", "second");
      await images("Always").ensure(spec(image), silent);
      const before = pulls;
      expect((await own.ofRevision(of("one"), silent)).id).to.equal(first);
      expect(pulls).to.equal(before);
      // The next revision is of the next deploy.
      (await own.ensure(spec(image), silent)).release();
      expect((await own.ofRevision(of("two"), silent)).id).to.equal(second);
      expect((await own.ofRevision(of("one"), silent)).id).to.equal(first);
    });
    it("gives all replicas that start together the same, with one look", async () => {
      const own = images("Always");
      await own.ensure(spec(image), silent);
      const before = looks;
      const found = await Promise.all(["a", "b", "c"].map(() => own.ofRevision(of("one"), silent)));
      expect(new Set(found.map(({ id }) => id))).to.deep.equal(new Set([first]));
      expect(looks - before).to.equal(1);
    });
    it("stays with what the replicas of an earlier provider run from", async () => {
      await images().ensure(spec(image), silent);
      await publish(open, "revision", "1", "second");
      const next = images("Always");
      next.pin({ name: "fn", namespace, revision: "one" }, first);
      expect((await next.ofRevision(of("one"), silent)).id).to.equal(first);
    });
    it("fetches an image that was removed by its digest, the same though the tag has moved", async () => {
      const own = images();
      await own.ensure(spec(image), silent);
      await own.ofRevision(of("one"), silent);
      await publish(open, "revision", "1", "second");
      await engine.docker.getImage(first).remove({ force: true });
      expect((await own.ofRevision(of("one"), silent)).id).to.equal(first);
    });
    it("says exactly why an image that was removed cannot be fetched again", async () => {
      const own = images();
      await own.ensure(spec(image), silent);
      await own.ofRevision(of("one"), silent);
      await engine.docker.getImage(first).remove({ force: true });
      await open.stop();
      try {
        const error = await refusal(own.ofRevision(of("one"), silent));
        expect(error.code).to.equal("registry_unavailable");
        expect(error.message).to.contain(`could not pull image ${image}`).and.contain("connection refused");
      } finally {
        await open.start();
      }
      expect((await own.ofRevision(of("one"), silent)).id).to.equal(first);
    });
    it("forgets functions that are gone, but none that is being deployed", async () => {
      const own = images();
      const { release } = await own.ensure(spec(image), silent);
      const second = await publish(open, "revision", "1", "second");
      await images("Always").ensure(spec(image), silent);
      own.collect([]);
      expect((await own.ofRevision(of("one"), silent)).id).to.equal(first);
      release();
      own.collect([]);
      expect((await own.ofRevision(of("one"), silent)).id).to.equal(second);
    });
  });
});
