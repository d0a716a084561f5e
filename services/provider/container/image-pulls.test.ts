import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { expect } from "chai";
import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import { createImagePulls, type PullTimes } from "./image-pulls.ts";
import { parseImageReference } from "./image-reference.ts";

interface Asked {
  readonly stream: PassThrough;
  readonly login: unknown;
}

/** An engine whose pulls tell what the test writes. */
const createEngine = () => {
  const asked: Asked[] = [];
  const docker = {
    createImage: (login: unknown, { abortSignal }: { abortSignal: AbortSignal }) => {
      const stream = new PassThrough();
      abortSignal.addEventListener("abort", () => stream.destroy(new Error("aborted")));
      asked.push({ stream, login });
      return Promise.resolve(stream);
    },
  } as unknown as Docker;
  return { docker, asked };
};

const reference = parseImageReference("ghcr.io/me/fn:1");
const times = (more: Partial<PullTimes> = {}): PullTimes => ({
  tellEveryMs: 5,
  repeatEveryMs: 60_000,
  stallMs: 60_000,
  ...more,
});

describe("createImagePulls()", () => {
  /** Begins a pull; gives what it told, and its error once there is one. */
  const open = (given?: Partial<PullTimes>) => {
    const { docker, asked } = createEngine();
    const pulls = createImagePulls(docker, times(given));
    const told: string[] = [];
    let onTold = (): void => {};
    const pull = (password?: string) =>
      pulls.pull({
        image: "ghcr.io/me/fn:1",
        reference,
        credentials: {
          from: "asked by the test",
          ...(password === undefined ? {} : { login: { password, serveraddress: "ghcr.io" } }),
        },
        tell: (progress) => {
          told.push(progress);
          onTold();
        },
      });
    const untilTold = (fits: (text: string) => boolean): Promise<void> =>
      new Promise((resolve) => {
        onTold = () => void (told.some(fits) && resolve());
        onTold();
      });
    return { pulls, asked, told, pull, untilTold };
  };
  const say = ({ stream }: Asked, ...lines: readonly object[]): void => {
    for (const line of lines) stream.write(`${JSON.stringify(line)}\r\n`);
  };
  const first = async (asked: readonly Asked[]): Promise<Asked> => {
    for (;;) {
      const [only] = asked;
      if (only) return only;
      await turn();
    }
  };
  const refusal = (work: Promise<void>): Promise<BuskerError> =>
    work.then(
      () => {
        throw new Error("it was not refused");
      },
      (error: BuskerError) => error,
    );

  it("tells at once that it pulls, and then how far it is, each sentence once", async () => {
    const { asked, told, pull, untilTold } = open();
    const done = pull();
    expect(told).to.deep.equal(["pulling ghcr.io/me/fn:1"]);
    const engine = await first(asked);
    say(engine, { status: "Pulling fs layer", id: "a" }, { status: "Pulling fs layer", id: "b" });
    await untilTold((text) => text.endsWith("0 of 2 layers"));
    say(engine, { status: "Pull complete", id: "a" }, { status: "Pull complete", id: "a" });
    await untilTold((text) => text.endsWith("1 of 2 layers"));
    engine.stream.end();
    await done;
    expect(told).to.have.length(3);
  });

  it("says it again now and then when nothing comes, and how long that has been so", async () => {
    const { asked, pull, untilTold } = open({ repeatEveryMs: 20 });
    const done = pull();
    await untilTold((text) => text === "pulling ghcr.io/me/fn:1 (nothing new for 0 s)");
    (await first(asked)).stream.end();
    await done;
  });

  it("makes one pull for all who ask with the same credentials, tells each, and another for others", async () => {
    const { asked, told, pull } = open();
    const all = [pull("a"), pull("a"), pull("b"), pull()];
    await first(asked);
    expect(asked.map(({ login }) => login)).to.deep.equal([
      { password: "a", serveraddress: "ghcr.io" },
      { password: "b", serveraddress: "ghcr.io" },
      undefined,
    ]);
    expect(told).to.have.length(4);
    for (const { stream } of asked) stream.end();
    await Promise.all(all);
    const again = pull("a");
    expect(asked).to.have.length(4);
    asked.at(-1)?.stream.end();
    await again;
  });

  it("fails with the error that an engine tells in the middle", async () => {
    const { asked, pull } = open();
    const failed = refusal(pull());
    say(
      await first(asked),
      { status: "Pulling fs layer", id: "a" },
      { error: "failed to register layer: no space left" },
    );
    expect(await failed).to.include({
      code: "start_failed",
      message: "could not pull image ghcr.io/me/fn:1: failed to register layer: no space left",
    });
  });

  it("fails when the engine breaks off, all who share the pull alike", async () => {
    const { asked, pull } = open();
    const failed = [refusal(pull()), refusal(pull())];
    const reset = Object.assign(new Error("aborted"), { code: "ECONNRESET" });
    (await first(asked)).stream.destroy(reset);
    for (const error of await Promise.all(failed))
      expect(error).to.include({
        code: "provider_unavailable",
        message: "could not pull image ghcr.io/me/fn:1: the container engine does not answer: aborted",
      });
  });

  it("gives up when nothing has come for long", async () => {
    const { pull } = open({ stallMs: 20 });
    const error = await refusal(pull());
    expect(error).to.include({ code: "registry_unavailable" });
    expect(error.message).to.contain("nothing has come for 0.02 s");
  });

  it("breaks off when it is closed", async () => {
    const { pulls, asked, pull } = open();
    const failed = refusal(pull());
    await first(asked);
    pulls.close();
    expect(await failed).to.include({ code: "provider_unavailable" });
    expect((await first(asked)).stream.destroyed).to.equal(true);
  });
});
