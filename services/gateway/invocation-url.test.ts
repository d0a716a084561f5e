import { expect } from "chai";
import { isDurable, isInvocation, splitUrl } from "./invocation-url.ts";

describe("splitUrl()", () => {
  const cases = [
    ["/function/echo", "echo", "/"],
    ["/function/echo/", "echo", "/"],
    ["/function/echo?a=1", "echo", "/?a=1"],
    ["/function/echo/x/y?a=1&b=/z", "echo", "/x/y?a=1&b=/z"],
    ["/function/echo.dev/x", "echo.dev", "/x"],
    ["/function/echo/a%2Fb", "echo", "/a%2Fb"],
    ["/function/echo//x", "echo", "//x"],
    ["/function/", "", "/"],
    ["/async-function/echo", "echo", "/"],
    ["/async-function/a%2Fb/response?wait=1s", "a%2Fb", "/response?wait=1s"],
  ] as const;
  for (const [url, name, path] of cases)
    it(`splits ${url} and keeps the rest exactly as it was sent`, () => {
      expect(splitUrl(url)).to.deep.equal({ name, path });
    });
});

describe("isInvocation()", () => {
  it("is about /function/ only", () => {
    expect(["/function/x", "/functions/x", "/system/function/x", "/"].map(isInvocation)).to.deep.equal([
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("isDurable()", () => {
  it("is about /async-function/ only", () => {
    expect(["/async-function/x", "/function/x", "/system/async-function/x"].map(isDurable)).to.deep.equal([
      true,
      false,
      false,
    ]);
  });
});
