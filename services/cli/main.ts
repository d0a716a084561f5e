#!/usr/bin/env node
import { nodeProblem } from "./node-version.ts";

// Before anything else is loaded: an old Node.js fails at that, with a stack trace that helps nobody.
const problem = nodeProblem(process.versions.node);
if (problem !== undefined) {
  process.stderr.write(`busker: ${problem}\n`);
  process.exit(1);
}

// `busker list | head -1` closes our output early; that is the reader's right and no error.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const { runCli } = await import("./run-cli.ts");
process.exitCode = await runCli(process.argv.slice(2), process);
