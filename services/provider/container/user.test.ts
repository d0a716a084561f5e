import { expect } from "chai";
import { containerUser } from "./user.ts";

describe("containerUser()", () => {
  const cases: readonly (readonly [string, string | undefined, string | undefined, string])[] = [
    ["the image's own user", undefined, "app", "app"],
    ["root where the image says so", undefined, "0", "0"],
    ["nobody in particular where the image says nothing", undefined, undefined, "12000:12000"],
    ["what an image without USER means, by the annotation", "image", "", ""],
    ["the image's own user, by the annotation", "image", "app", "app"],
    ["other ids than the image's, by the annotation", "1000:5", "app", "1000:5"],
  ];
  for (const [what, wished, User, expected] of cases)
    it(`gives ${what}`, () => {
      const annotations: Record<string, string> = wished === undefined ? {} : { "com.busker.user": wished };
      expect(containerUser({ annotations }, { User })).to.equal(expected);
    });

  for (const wished of ["root", "", "-1", "1:", "1:2:3", "4294967295"])
    it(`refuses ${JSON.stringify(wished)}, naming what is allowed`, () => {
      expect(() => containerUser({ annotations: { "com.busker.user": wished } }, {}))
        .to.throw(`must be image, or ids such as 1000 or 1000:1000; got ${JSON.stringify(wished)}`)
        .with.property("code", "invalid_request");
    });
});
