import { PassThrough } from "node:stream";
import type { Context } from "koa";
import type { Outcome } from "../../schemas/events.ts";
import { toBuskerError } from "./error-reply.ts";

/** Makes a wish; what is given is called with its progress. */
type MakeWish = (tell?: (progress: string) => void) => Promise<Outcome>;

const linesType = "application/x-ndjson";

const wantsLines = (context: Context): boolean => context.accepts("application/json", linesType) === linesType;

const tellEnd = async (outcome: Promise<Outcome>): Promise<object> => {
  try {
    return { outcome: await outcome };
  } catch (thrown) {
    const { code, status, message } = toBuskerError(thrown);
    return { error: { code, status, message } };
  }
};

/**
 * Answers 202 with a wish's outcome, as OpenFaaS's clients expect. To who accepts `application/x-ndjson` a wish that takes
 * a while is answered 202 at its first word of progress, and then with lines of JSON: `{"progress": "…"}` each, and at last
 * `{"outcome": {…}}` or `{"error": {"code", "status", "message"}}`.
 */
export const answerWish = async (context: Context, make: MakeWish): Promise<void> => {
  context.status = 202;
  if (!wantsLines(context)) {
    context.body = await make();
    return;
  }
  const lines = new PassThrough();
  // Whoever asked may have gone: then it is written to nobody, and the wish goes on.
  const write = (line: object): void => void lines.write(`${JSON.stringify(line)}\n`);
  let onProgress = (): void => {};
  const first = new Promise<undefined>((resolve) => {
    onProgress = () => resolve(undefined);
  });
  const outcome = make((progress) => {
    write({ progress });
    onProgress();
  });
  const early = await Promise.race([outcome, first]);
  if (early) {
    context.body = early;
    return;
  }
  context.body = lines;
  context.type = linesType;
  void tellEnd(outcome).then((end) => {
    write(end);
    lines.end();
  });
};
