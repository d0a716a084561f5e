import { expect } from "chai";
import { createAuthorizer } from "./basic-auth.ts";

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

describe("createAuthorizer()", () => {
  const authorize = createAuthorizer({ user: "admin", password: "s:ecret" });
  const cases: readonly (readonly [string, string | undefined, boolean])[] = [
    ["the right pair, a colon in the password included", basic("admin:s:ecret"), true],
    ["a scheme in lower case", basic("admin:s:ecret").replace("Basic", "basic"), true],
    ["a wrong password", basic("admin:other"), false],
    ["a wrong user", basic("root:s:ecret"), false],
    ["a longer password", basic("admin:s:ecrets"), false],
    ["no header", undefined, false],
    ["another scheme", "Bearer abc", false],
    ["what is not base64", "Basic !!!", false],
    ["an empty pair", basic(""), false],
  ];
  for (const [title, header, granted] of cases)
    it(`${granted ? "lets in" : "keeps out"} ${title}`, () => {
      expect(authorize(header)).to.equal(granted);
    });
});
