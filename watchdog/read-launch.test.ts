import { Readable } from "node:stream";
import { expect } from "chai";
import { readLaunch } from "./read-launch.ts";

const launch = { replica: "r1", credentials: "SECRET", env: { A: "1" }, inherit: ["HOME", "A", "ABSENT"] };

/** What went wrong, as text. */
const faultOf = (input: Readable, path: string | undefined = "-", withinMs = 1000): Promise<string> =>
  readLaunch(path, { openInput: () => input, env: {}, withinMs }).then(
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
    const read = await readLaunch("-", { openInput: () => input, env: {}, withinMs: 1000 });
    expect(read).to.deep.equal(launch);
    expect(input.readableEnded).to.equal(true);
  });

  it("adds the variables that it is to inherit, unless the function has them, and no other", async () => {
    const env = { HOME: "/root", A: "2", NODE_OPTIONS: "--x" };
    const read = await readLaunch("-", {
      openInput: () => Readable.from([JSON.stringify(launch)]),
      env,
      withinMs: 1000,
    });
    expect(read.env).to.deep.equal({ HOME: "/root", A: "1" });
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

  it("says how it is used when it is told nothing", async () => {
    expect(
      await readLaunch(undefined, { openInput: () => Readable.from([]), env: {}, withinMs: 1 }).catch(String),
    ).to.include("usage");
  });
});
