import type { Call } from "../mode.ts";
import { streamedLength } from "../upstream/request-head.ts";

/** `content-type` becomes `Http_Content_Type`: header names in the canonical spelling that Go gives them. */
const variableName = (header: string): string =>
  `Http_${header
    .split("-")
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1).toLowerCase())
    .join("_")}`;

/** Method, path and query of a call, and the names that only the classic watchdog has. */
const addRequest = (env: Record<string, string>, call: Call): void => {
  const mark = call.path.indexOf("?");
  env["Http_Method"] = call.method;
  env["Http_Path"] = mark < 0 ? call.path : call.path.slice(0, mark);
  if (mark >= 0) env["Http_Query"] = call.path.slice(mark + 1);
  const bytes = call.rest ? streamedLength(call) : call.body.length;
  // Of a body that comes in chunks nobody knows the length yet; Go says -1.
  env["Http_Content_Length"] = env["Http_ContentLength"] = String(bytes ?? -1);
};

/**
 * The environment of one forked process: the function's own and the call's head in the CGI names of both OpenFaaS
 * watchdogs. Of a repeated header the first value counts, as there.
 */
export const forkEnvironment = (base: Readonly<Record<string, string>>, call: Call): Record<string, string> => {
  const env: Record<string, string> = { ...base, Http_X_Call_Id: call.id };
  const seen = new Set<string>();
  for (let index = 0; index + 1 < call.headers.length; index += 2) {
    const name = variableName(call.headers[index] ?? "");
    if (seen.has(name)) continue;
    seen.add(name);
    env[name] = call.headers[index + 1] ?? "";
  }
  addRequest(env, call);
  return env;
};

/** What a function with `marshal_request` reads on stdin: the headers, and the body in base64. */
export const marshalCall = (call: Call): Buffer => {
  const header: Record<string, string[]> = {};
  for (let index = 0; index + 1 < call.headers.length; index += 2) {
    const name = call.headers[index] ?? "";
    const values = Object.hasOwn(header, name) ? header[name] : undefined;
    if (values) values.push(call.headers[index + 1] ?? "");
    else Object.defineProperty(header, name, { value: [call.headers[index + 1] ?? ""], enumerable: true });
  }
  return Buffer.from(JSON.stringify({ header, body: { raw: Buffer.from(call.body).toString("base64") } }));
};
