import { expect } from "chai";
import { readFileSync } from "node:fs";
import { BuskerError, type ErrorCode, errorCatalogue, isErrorCode } from "./errors.ts";

const codes = Object.keys(errorCatalogue) as readonly ErrorCode[];

const rows = readFileSync(new URL("errors.md", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

describe("errorCatalogue", () => {
  it("has the same codes as errors.md, so that each can be looked up", () => {
    expect(rows.map(([code]) => code?.replaceAll("`", "")).toSorted()).to.deep.equal([...codes].toSorted());
  });

  for (const code of codes)
    it(`gives ${code} the status and the word on repeating that errors.md gives it, when and what to do`, () => {
      const [, status, again, when, todo, ...more] = rows.find(([cell]) => cell === `\`${code}\``) ?? [];
      expect(status).to.equal(String(errorCatalogue[code].status));
      expect(again).to.equal(errorCatalogue[code].retryable ? "yes" : "no");
      expect(when).to.match(/^[A-Z].{20,}[^.]$/);
      expect(todo).to.match(/^[A-Z].{10,}[^.]$/);
      expect(more).to.deep.equal([]);
    });

  it("stands in errors.md by status, so that a reader finds it", () => {
    const statuses = rows.map(([, status]) => Number(status));
    expect(statuses).to.deep.equal([...statuses].toSorted((a, b) => a - b));
  });

  it("has statuses of HTTP's error range", () => {
    for (const code of codes) expect(errorCatalogue[code].status, code).to.be.within(400, 599);
  });
});

describe("isErrorCode()", () => {
  it("knows every code and nothing that every object has", () => {
    for (const code of codes) expect(isErrorCode(code)).to.equal(true);
    for (const text of ["", "nonsense", "constructor", "__proto__", "toString"])
      expect(isErrorCode(text)).to.equal(false);
  });
});

describe("BuskerError", () => {
  it("takes status and retryable from its code and keeps its cause", () => {
    const cause = new Error("below");
    const error = new BuskerError("line_full", "full", { cause });
    expect(error).to.include({
      name: "BuskerError",
      code: "line_full",
      status: 429,
      retryable: true,
      message: "full",
      cause,
    });
    expect(error).to.be.instanceOf(Error);
  });
});
