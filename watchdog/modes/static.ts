import { realpath, stat } from "node:fs/promises";
import { basename, resolve, sep } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import type { BodySink } from "../../services/bus/body-sender.ts";
import { messageOf, stopAnswer, stopError, textAnswer } from "../answers.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { type PieceSource, pump } from "../pump.ts";
import { type FileAnswer, readFileAnswer } from "./send-file.ts";

/** A request for a file, decoded. */
interface Wanted {
  readonly path: string;
  readonly query: string;
}

const notFound: FileAnswer = { answer: textAnswer(404, "404 page not found\n") };

const decodePath = (target: string): Wanted | undefined => {
  const mark = target.indexOf("?");
  try {
    const path = decodeURIComponent(mark < 0 ? target : target.slice(0, mark));
    return path.includes("\0") ? undefined : { path, query: mark < 0 ? "" : target.slice(mark) };
  } catch {
    return undefined;
  }
};

/** The real path of a file below the root, links followed; undefined when it is missing or elsewhere. */
const findBelow = async (root: string, path: string): Promise<string | undefined> => {
  try {
    const found = await realpath(resolve(root, `.${sep}${path}`));
    return found === root || found.startsWith(root.endsWith(sep) ? root : root + sep) ? found : undefined;
  } catch {
    return undefined;
  }
};

/** A folder without its slash would break the relative links of its page. The way is relative: we do not know the function's own. */
const redirect = ({ path, query }: Wanted): Answer => ({
  status: 301,
  headers: ["Location", `${encodeURIComponent(basename(path))}/${query}`],
  body: "",
});

const serve = async (root: string, call: Call, maxBytes: number): Promise<FileAnswer> => {
  const wanted = decodePath(call.path);
  if (!wanted) return { answer: textAnswer(400, "the path is not valid percent-encoded UTF-8\n") };
  const found = await findBelow(root, wanted.path);
  if (found === undefined) return notFound;
  const entry = await stat(found);
  if (entry.isFile()) return wanted.path.endsWith("/") ? notFound : readFileAnswer(call, found, maxBytes);
  if (!entry.isDirectory()) return notFound;
  if (!wanted.path.endsWith("/")) return { answer: redirect(wanted) };
  const page = await findBelow(root, `${wanted.path}/index.html`);
  return page !== undefined && (await stat(page)).isFile() ? readFileAnswer(call, page, maxBytes) : notFound;
};

/** Sends a file's pieces; the answer's head has gone. Gives what ends it. */
const sendPieces = (pieces: PieceSource, sink: BodySink): StopCall => {
  pump(pieces, sink).then(
    () => sink.end(),
    (error: unknown) =>
      sink.abort(new BuskerError("function_failed", `cannot read the file: ${messageOf(error)}`, { cause: error })),
  );
  return (cause) => {
    pieces.cancel();
    sink.abort(stopError(cause));
  };
};

const openRoot = async (path: string): Promise<string> => {
  const root = await realpath(path).catch(() => "");
  if (root !== "" && (await stat(root)).isDirectory()) return root;
  throw new BuskerError("start_failed", `cannot serve static_path ${JSON.stringify(path)}: it is not a folder`);
};

/**
 * Files of a folder (of-watchdog's mode `static`), of any size where the caller takes streams. Every method gets the file, because a plain invocation is a POST. What
 * lies outside the folder, also by a symbolic link, is 404.
 */
export const createStaticMode = ({ config, cwd }: ModeParts): Mode => {
  let root = "";

  const begin = (call: Call, finish: (answer: Answer) => void): StopCall => {
    let isOpen = true;
    let stopSending: StopCall | undefined;
    const settle = ({ answer, pieces }: FileAnswer): void => {
      if (!isOpen) return pieces?.cancel();
      isOpen = false;
      if (!pieces) return finish(answer);
      const stream = (sink: BodySink): void => {
        stopSending = sendPieces(pieces, sink);
      };
      finish({ ...answer, stream });
    };
    serve(root, call, config.maxResponseBytes).then(settle, (error: unknown) =>
      settle({ answer: textAnswer(500, `cannot read the file: ${messageOf(error)}\n`) }),
    );
    return (cause) => {
      if (stopSending) stopSending(cause);
      else settle({ answer: stopAnswer(cause) });
    };
  };

  return {
    start: async () => {
      root = await openRoot(resolve(cwd, config.staticPath));
    },
    begin,
    stop: async () => undefined,
  };
};
