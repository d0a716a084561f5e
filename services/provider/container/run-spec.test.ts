import { expect } from "chai";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { toRunSpec } from "./run-spec.ts";

const bundle: FunctionSpec = { name: "fn", namespace: "ns", image: `bundle:sha256:${"0".repeat(64)}` };
const own = async (): Promise<string> => "busker/base:1";

describe("toRunSpec()", () => {
  it("leaves a function of an image as it is", async () => {
    const spec = { ...bundle, image: "app:1" };
    expect(await toRunSpec(spec, { configured: "debian", own })).to.equal(spec);
  });

  it("gives a bundle the image that it names, or else the configured one", async () => {
    const annotations = { "com.busker.base-image": "alpine" };
    expect((await toRunSpec({ ...bundle, annotations }, { configured: "debian", own })).image).to.equal("alpine");
    expect((await toRunSpec(bundle, { configured: "debian", own })).image).to.equal("debian");
  });

  it("gives it the image that is made here when there is neither, which is never pulled", async () => {
    expect(await toRunSpec(bundle, { configured: undefined, own })).to.deep.include({
      image: "busker/base:1",
      annotations: { "com.busker.image-pull-policy": "Never" },
    });
  });
});
