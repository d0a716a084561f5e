import { join, resolve } from "node:path";

// This file runs as services/cli/paths.ts under tsx and as dist/services/cli/paths.js after a build.
const isSource = import.meta.filename.endsWith(".ts");

/** The project's own folder. */
export const projectFolder = resolve(import.meta.dirname, isSource ? "../.." : "../../..");

/** What scripts/build.mjs makes. */
export const distFolder = join(projectFolder, "dist");

/** The sample functions, each ready to be deployed. */
export const samplesFolder = join(distFolder, "samples");
