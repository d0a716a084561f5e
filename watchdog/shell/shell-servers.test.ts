import { expect } from "chai";
import { fixtures, isAlive, openMode, textOf, until } from "../fixtures/open-mode.ts";
import { quoteWord } from "./shell-words.ts";

const open = async (fprocess: string) => {
  const opened = openMode({ fprocess });
  await opened.mode.start();
  return opened;
};

describe("createShellServers()", () => {
  it("keeps what calls leave behind apart, because no answer may hold the output of another call", async () => {
    // Each call leaves a process that goes on writing to the same pipe.
    const { mode, call } = await open(`${fixtures}/hostile.sh chatty`);
    for (let count = 0; count < 30; count++) {
      const text = textOf(await call({ body: Buffer.from(`call ${count}`) }));
      expect(
        text
          .split("\n")
          .filter((line) => !line.startsWith(`call ${count} `))
          .join(""),
      ).to.equal("");
    }
    await mode.stop(0);
  });

  it("gives each of many calls at once its own answer", async () => {
    const { mode, call } = await open("cat");
    const bodies = Array.from({ length: 60 }, (_, index) => `body ${index} ${"x".repeat(index * 700)}`);
    for (let round = 0; round < 3; round++)
      expect((await Promise.all(bodies.map((body) => call({ body: Buffer.from(body) })))).map(textOf)).to.deep.equal(
        bodies,
      );
    await mode.stop(0);
  });

  it("gives real files at /dev/stdin, /dev/stdout and /dev/stderr, because scripts open them by name", async () => {
    const { mode, call, lines } = await open(`${fixtures}/hostile.sh devices`);
    expect(textOf(await call({ body: Buffer.from("in") }))).to.equal("inout\n");
    expect(lines.map(({ text }) => text)).to.deep.equal(["err"]);
    await mode.stop(0);
  });

  it("passes any header on as it is, because a shell must not see more in it than text", async () => {
    const { mode, call } = await open(`${fixtures}/hostile.sh env`);
    const value = "a'b\"c$(id)`id`\\ $HOME ;&|<>*?\n'\\''";
    expect(textOf(await call({ headers: ["X-Odd", value] }))).to.contain(`Http_X_Odd=${value}\n`);
    expect(quoteWord("it's")).to.equal("'it'\\''s'");
    await mode.stop(0);
  });

  it("survives a function that kills its own group, shell included", async () => {
    const { mode, call } = await open(`${fixtures}/hostile.sh suicide`);
    expect([textOf(await call()), textOf(await call())]).to.deep.equal(
      Array(2).fill("the function failed: signal SIGKILL\n"),
    );
    await mode.stop(0);
  });

  it("leaves no shell at stop(), also of calls that run, and lets them end at SIGTERM", async () => {
    const { mode, begin, lines } = await open(`${fixtures}/hostile.sh polite`);
    const { answer } = begin();
    await until("the first line", () => lines.length > 0);
    await mode.stop(5000);
    expect(textOf(await answer)).to.equal("goodbye\n");
    expect((lines[0]?.text.split(" ").map(Number) ?? [0]).filter(isAlive)).to.be.empty;
  });
});
