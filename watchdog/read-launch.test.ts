import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect } from "chai";
import { readLaunch } from "./read-launch.ts";

const launch = { replica: "r1", credentials: "SECRET", env: { A: "1" }, inherit: ["HOME", "A", "ABSENT"] };

const enrol = () => Promise.reject(new Error("nobody enrols"));

/** What went wrong, as text. */
const faultOf = (input: Readable, path: string | undefined = "-", withinMs = 1000): Promise<string> =>
  readLaunch(path, { openInput: () => input, enrol, env: {}, withinMs }).then(
    () => "none",
    (error: unknown) => String(error),
  );

describe("readLaunch()", () => {
  it("reads standard input to its end, in whatever pieces it comes", async () => {
    const input = Readable.from(
      JSON.stringify(launch)
        .split(/(?=,)/)
        .map((piece) => Buffer.from(piece)),
    );
    const read = await readLaunch("-", { openInput: () => input, enrol, env: {}, withinMs: 1000 });
    expect(read.launch).to.deep.equal(launch);
    expect(input.readableEnded).to.equal(true);
  });

  it("adds the variables that it is to inherit, unless the function has them, and no other", async () => {
    const env = { HOME: "/root", A: "2", NODE_OPTIONS: "--x" };
    const read = await readLaunch("-", {
      openInput: () => Readable.from([JSON.stringify(launch)]),
      env,
      enrol,
      withinMs: 1000,
    });
    expect(read.launch.env).to.deep.equal({ HOME: "/root", A: "1" });
  });

  it("gives an input up that never ends, because a container that nobody feeds would wait for ever", async () => {
    expect(await faultOf(new Readable({ read: () => undefined }), "-", 20)).to.include("within 20 ms");
  });

  it("says that nothing came", async () => {
    expect(await faultOf(Readable.from([]))).to.include("nothing came by standard input");
  });

  it("repeats nothing of a launch that is cut off, because it holds credentials", async () => {
    const fault = await faultOf(Readable.from([JSON.stringify(launch).slice(0, 40)]));
    expect(fault).to.include("is not JSON").and.not.include("SECRET");
  });

  it("asks for its launch with what is in the file that enrol: names", async () => {
    const folder = mkdtempSync(join(tmpdir(), "busker-launch-"));
    const file = join(folder, "bootstrap");
    writeFileSync(file, "the bootstrap");
    const asked: string[] = [];
    const given = { ...launch, namespace: "ns", name: "fn" } as unknown as Awaited<
      ReturnType<typeof readLaunch>
    >["launch"];
    const sources = { openInput: () => Readable.from([]), env: { HOME: "/root" }, withinMs: 1 };
    try {
      const read = await readLaunch(`enrol:${file}`, {
        ...sources,
        enrol: async (text) => {
          asked.push(text);
          return { launch: given, fault: "no bundle" };
        },
      });
      expect([asked, read.launch.env, read.fault]).to.deep.equal([
        ["the bootstrap"],
        { HOME: "/root", A: "1" },
        "no bundle",
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("says how it is used when it is told nothing", async () => {
    expect(
      await readLaunch(undefined, { openInput: () => Readable.from([]), enrol, env: {}, withinMs: 1 }).catch(String),
    ).to.include("usage");
  });
});
