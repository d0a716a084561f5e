import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { sealSecretOrder } from "../services/bus/secret-order.ts";
import { describeError } from "../services/runtime/log.ts";
import { openSecretFiles } from "./secret-files.ts";

describe("openSecretFiles()", () => {
  const key = randomBytes(32);
  const longest = "n".repeat(253);
  let folder: string;

  const open = (into = folder) =>
    openSecretFiles("r1", {
      folder: into,
      key: key.toString("base64"),
      files: Object.fromEntries(
        ["token", longest].map((name) => [name, { version: 5, value: Buffer.from("PRIVATE").toString("base64") }]),
      ),
    });
  const order = (name: string, version: number, value: string) =>
    sealSecretOrder(key, { replica: "r1", name, version }, Buffer.from(value));
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");

  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "busker-secret-files-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it("writes a file for each, the longest name too, that only its owner reads, and no other", () => {
    open();
    expect(readdirSync(folder).sort()).to.deep.equal([longest, "token"]);
    expect([read("token"), statSync(join(folder, "token")).mode & 0o777]).to.deep.equal(["PRIVATE", 0o400]);
  });

  it("puts a newer value in another file of that name, and leaves no draft", () => {
    const files = open();
    const { ino } = statSync(join(folder, "token"));
    files.renew(order("token", 6, "newer"));
    expect(read("token")).to.equal("newer");
    // Who has the old one open reads the old value, whole.
    expect(statSync(join(folder, "token")).ino).to.not.equal(ino);
    expect(readdirSync(folder).length).to.equal(2);
    expect(statSync(join(folder, "token")).mode & 0o777).to.equal(0o400);
  });

  it("passes over a value that is not newer", () => {
    const files = open();
    for (const [version, value] of [
      [5, "the same"],
      [7, "newest"],
      [6, "late"],
    ] as const)
      files.renew(order("token", version, value));
    expect(read("token")).to.equal("newest");
  });

  it("makes no file that the launch did not name", () => {
    open().renew(order("other", 9, "x"));
    expect(readdirSync(folder)).to.not.include("other");
  });

  it("refuses a box of another replica, and keeps what it has", () => {
    const files = open();
    const foreign = sealSecretOrder(key, { replica: "r2", name: "token", version: 9 }, Buffer.from("x"));
    expect(() => files.renew(foreign)).to.throw(RangeError, "another replica");
    expect(read("token")).to.equal("PRIVATE");
  });

  it("says which secret could not be written where, and why, without its value", () => {
    let told = "";
    try {
      open(join(folder, "nowhere"));
    } catch (error) {
      told = describeError(error);
    }
    expect(told).to.match(/^could not write secret token to .*nowhere: ENOENT/);
    expect(told).to.not.include("PRIVATE");
  });
});
