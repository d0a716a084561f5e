#!/usr/bin/env node
// A container's healthcheck without a shell or curl: exits 0 when the URL given answers with a 2xx, else 1 saying why not.
const url = process.argv[2] ?? "";
const waitMs = 4000;

try {
  const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(waitMs) });
  if (!ok) throw new Error(`it answers ${status}`);
} catch (error) {
  process.stderr.write(`${url}: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
