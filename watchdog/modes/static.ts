import { open, realpath, stat } from "node:fs/promises";
import { basename, resolve, sep } from "node:path";
import { BuskerError } from "../../schemas/errors.ts";
import { messageOf, stopAnswer, textAnswer, tooLargeAnswer } from "../answers.ts";
import type { Answer, Call, Mode, StopCall } from "../mode.ts";
import type { ModeParts } from "../mode-parts.ts";
import { contentTypeOf } from "./content-types.ts";

/** A request for a file, decoded. */
interface Wanted {
  readonly path: string;
  readonly query: string;
}

const notFound = (): Answer => textAnswer(404, "404 page not found\n");

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

const headerOf = (call: Call, name: string): string | undefined => {
  const at = call.headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name);
  return at < 0 ? undefined : call.headers[at + 1];
};

/** HTTP dates have whole seconds. */
const isUnchanged = (call: Call, modifiedMs: number): boolean =>
  Date.parse(headerOf(call, "if-modified-since") ?? "") >= Math.floor(modifiedMs / 1000) * 1000;

const readFile = async (call: Call, file: string, maxBytes: number): Promise<Answer> => {
  const handle = await open(file, "r");
  try {
    const { size, mtimeMs } = await handle.stat();
    const modified = ["Last-Modified", new Date(mtimeMs).toUTCString()];
    if (isUnchanged(call, mtimeMs)) return { status: 304, headers: modified, body: "" };
    const headers = ["Content-Type", contentTypeOf(file), ...modified];
    if (call.method === "HEAD") return { status: 200, headers: [...headers, "Content-Length", String(size)], body: "" };
    if (size > maxBytes) return tooLargeAnswer(maxBytes);
    return { status: 200, headers, body: await handle.readFile() };
  } finally {
    await handle.close();
  }
};

/** A folder without its slash would break the relative links of its page. The way is relative: we do not know the function's own. */
const redirect = ({ path, query }: Wanted): Answer => ({
  status: 301,
  headers: ["Location", `${encodeURIComponent(basename(path))}/${query}`],
  body: "",
});

const serve = async (root: string, call: Call, maxBytes: number): Promise<Answer> => {
  const wanted = decodePath(call.path);
  if (!wanted) return textAnswer(400, "the path is not valid percent-encoded UTF-8\n");
  const found = await findBelow(root, wanted.path);
  if (found === undefined) return notFound();
  const entry = await stat(found);
  if (entry.isFile()) return wanted.path.endsWith("/") ? notFound() : readFile(call, found, maxBytes);
  if (!entry.isDirectory()) return notFound();
  if (!wanted.path.endsWith("/")) return redirect(wanted);
  const page = await findBelow(root, `${wanted.path}/index.html`);
  return page !== undefined && (await stat(page)).isFile() ? readFile(call, page, maxBytes) : notFound();
};

const openRoot = async (path: string): Promise<string> => {
  const root = await realpath(path).catch(() => "");
  if (root !== "" && (await stat(root)).isDirectory()) return root;
  throw new BuskerError("start_failed", `cannot serve static_path ${JSON.stringify(path)}: it is not a folder`);
};

/**
 * Files of a folder (of-watchdog's mode `static`). Every method gets the file, because a plain invocation is a POST. What
 * lies outside the folder, also by a symbolic link, is 404.
 */
export const createStaticMode = ({ config, cwd }: ModeParts): Mode => {
  let root = "";

  const begin = (call: Call, finish: (answer: Answer) => void): StopCall => {
    let isOpen = true;
    const settle = (answer: Answer): void => {
      if (isOpen) finish(answer);
      isOpen = false;
    };
    serve(root, call, config.maxResponseBytes).then(settle, (error: unknown) =>
      settle(textAnswer(500, `cannot read the file: ${messageOf(error)}\n`)),
    );
    return (cause) => settle(stopAnswer(cause));
  };

  return {
    start: async () => {
      root = await openRoot(resolve(cwd, config.staticPath));
    },
    begin,
    stop: async () => undefined,
  };
};
