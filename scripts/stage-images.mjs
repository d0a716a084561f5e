// Lays out what goes into the platform's image, in the folder given: dist/ and the packages that it needs, taken from
// node_modules as package-lock.json has them. Times are the same for the same content, and so are the image's layers.
import { cpSync, existsSync, lutimesSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const target = join(resolve(process.argv[2] ?? ""), "busker");
// Any time does, if it is always the same.
const madeAt = Number(process.env.SOURCE_DATE_EPOCH ?? 1_700_000_000);

// What no program reads.
const isDead = (path) => /\.([cm]?ts|map|md|markdown|flow)$|\/(test|tests|docs|examples)$/.test(path);

// Optional ones are compiled for the machine they are on, and nothing of ours needs them.
const isWanted = ([path, { dev, optional }]) => path !== "" && !dev && !optional && existsSync(join(root, path));

const copyPackages = () => {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  for (const [path] of Object.entries(lock.packages).filter(isWanted)) {
    if (path.includes("/@types/")) continue;
    // A package inside another has a line of its own.
    const filter = (from) => !isDead(from) && !(from !== join(root, path) && from.endsWith("/node_modules"));
    cpSync(join(root, path), join(target, path), { recursive: true, filter });
  }
};

const setTimes = (path) => {
  const entries = readdirSync(path, { withFileTypes: true });
  for (const entry of entries) {
    const inside = join(path, entry.name);
    if (entry.isDirectory()) setTimes(inside);
    else lutimesSync(inside, madeAt, madeAt);
  }
  lutimesSync(path, madeAt, madeAt);
};

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
cpSync(join(root, "dist"), join(target, "dist"), {
  recursive: true,
  filter: (from) => !/\.d\.ts$|\/\.stamp$|\.test\.js$|\/fixtures$/.test(from),
});
for (const file of ["package.json", "LICENSE"]) cpSync(join(root, file), join(target, file));
copyPackages();
setTimes(dirname(target));
