import { createHash } from "node:crypto";
import type Docker from "dockerode";
import { BuskerError } from "../../../schemas/errors.ts";
import type { ImageReference } from "./image-reference.ts";
import { pullFailure } from "./pull-failure.ts";
import { describeProgress, noProgress, noteLine, type PullLine, type PullProgress } from "./pull-progress.ts";
import type { RegistryCredentials } from "./registry-auth.ts";

/** An image to be pulled. */
export interface PullRequest {
  /** As the deployer wrote it, for what is told. */
  readonly image: string;
  readonly reference: ImageReference;
  readonly credentials: RegistryCredentials;
  /** Called with how far it is: at once, when something has come, each second at most, and now and then when nothing has. */
  readonly tell: (progress: string) => void;
}

/** Pulls into one engine. */
export interface ImagePulls {
  /** Resolves when the engine has the image. Several who want one image with the same credentials share one pull. */
  readonly pull: (request: PullRequest) => Promise<void>;
  /** Breaks off what is under way. */
  readonly close: () => void;
}

/** How often progress is told and when a pull is given up. */
export interface PullTimes {
  readonly tellEveryMs: number;
  /** With nothing new, it is still told this often: who waits for an outcome goes by it. */
  readonly repeatEveryMs: number;
  /** A pull of which the engine says nothing for so long is broken off. */
  readonly stallMs: number;
}

const usualTimes: PullTimes = { tellEveryMs: 1000, repeatEveryMs: 10_000, stallMs: 300_000 };

interface Pull {
  readonly done: Promise<void>;
  readonly tellers: Set<PullRequest["tell"]>;
  readonly describe: () => string;
}

/** Lines of JSON in a stream of text, as they come. */
async function* readLines(stream: NodeJS.ReadableStream): AsyncGenerator<PullLine> {
  stream.setEncoding("utf8");
  let rest = "";
  for await (const chunk of stream) {
    const lines = `${rest}${chunk.toString()}`.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as PullLine;
  }
  if (rest.trim() !== "") yield JSON.parse(rest) as PullLine;
}

/** What two pulls have in common that may be one: who may have an image by one login may not by another. */
const keyOf = ({ reference, credentials }: PullRequest): string =>
  `${reference.full} ${createHash("sha256")
    .update(JSON.stringify(credentials.login ?? null))
    .digest("hex")}`;

/** Pulls and tells of each line; rejects with what the engine or the connection to it says. */
const run = async (
  docker: Docker,
  { reference, credentials }: PullRequest,
  signal: AbortSignal,
  onLine: (line: PullLine) => void,
): Promise<void> => {
  const options = { fromImage: reference.full, abortSignal: signal };
  const stream = await docker.createImage(credentials.login, options);
  for await (const line of readLines(stream)) {
    if (line.error !== undefined) throw new Error(line.error);
    onLine(line);
  }
};

/** Makes the pulls of one engine. */
export const createImagePulls = (docker: Docker, times: PullTimes = usualTimes): ImagePulls => {
  const closing = new AbortController();
  const pulls = new Map<string, Pull>();

  const begin = (request: PullRequest): Pull => {
    const { image, reference, credentials } = request;
    const tellers = new Set<PullRequest["tell"]>();
    const stalled = new AbortController();
    let progress: PullProgress = noProgress;
    let heardMs = Date.now();
    let told = { text: describeProgress(image, progress), atMs: heardMs };

    const tell = (): void => {
      const nowMs = Date.now();
      if (nowMs - heardMs > times.stallMs) return stalled.abort();
      const text = describeProgress(image, progress);
      if (text === told.text && nowMs - told.atMs < times.repeatEveryMs) return;
      const silentMs = nowMs - heardMs;
      const silence = silentMs < times.repeatEveryMs ? "" : ` (nothing new for ${Math.round(silentMs / 1000)} s)`;
      told = { text, atMs: nowMs };
      for (const teller of tellers) teller(`${text}${silence}`);
    };
    const onLine = (line: PullLine): void => {
      heardMs = Date.now();
      progress = noteLine(progress, line);
    };
    const explain = (error: unknown): BuskerError => {
      const why = (code: "provider_unavailable" | "registry_unavailable", text: string): BuskerError =>
        new BuskerError(code, `could not pull image ${image}: ${text}`, { cause: error });
      if (closing.signal.aborted) return why("provider_unavailable", "the provider ended meanwhile");
      if (stalled.signal.aborted) return why("registry_unavailable", `nothing has come for ${times.stallMs / 1000} s`);
      return pullFailure({ image, full: reference.full, credentials, error });
    };

    const timer = setInterval(tell, times.tellEveryMs);
    const done = run(docker, request, AbortSignal.any([closing.signal, stalled.signal]), onLine)
      .catch((error: unknown) => {
        throw explain(error);
      })
      .finally(() => clearInterval(timer));
    return { done, tellers, describe: () => describeProgress(image, progress) };
  };

  return {
    pull: async (request) => {
      const key = keyOf(request);
      let pull = pulls.get(key);
      if (!pull) {
        pull = begin(request);
        pulls.set(key, pull);
      }
      request.tell(pull.describe());
      pull.tellers.add(request.tell);
      try {
        await pull.done;
      } finally {
        pull.tellers.delete(request.tell);
        if (pulls.get(key) === pull) pulls.delete(key);
      }
    },
    close: () => closing.abort(),
  };
};
