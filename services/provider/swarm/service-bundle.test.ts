import { expect } from "chai";
import type { FunctionSpec } from "../../../schemas/function.ts";
import { checkBundleFits, launchBundle, roomForBundle, toServiceSpec } from "./service-bundle.ts";

const digest = "a".repeat(64);
const spec: FunctionSpec = { name: "fn", namespace: "ns", image: `bundle:sha256:${digest}` };
const reasonOf = (work: Promise<unknown>): Promise<string> => work.then(() => "no error", String);

describe("a bundle on a swarm", () => {
  it("runs in the image that its annotation names, or the provider's environment; an image in itself", async () => {
    const annotated = { ...spec, annotations: { "com.busker.base-image": "node:22" } };
    expect((await toServiceSpec(annotated, "node:20")).image).to.equal("node:22");
    expect((await toServiceSpec(spec, "node:20")).image).to.equal("node:20");
    expect((await toServiceSpec({ ...spec, image: "app:1" }, undefined)).image).to.equal("app:1");
  });

  it("is refused without either, saying what to set", async () => {
    expect(await reasonOf(toServiceSpec(spec, undefined))).to.match(/BUSKER_BASE_IMAGE.*com\.busker\.base-image/);
  });

  it("must be smaller than its replicas' memory", () => {
    const limited = { ...spec, limits: { memory: "1Mi" } };
    expect(() => checkBundleFits(limited, { bytes: 2 ** 20, entries: 1 })).to.throw("limits.memory 1Mi is too little");
    expect(() => checkBundleFits(limited, { bytes: 2 ** 20 - 1, entries: 1 })).to.not.throw();
    expect(() => checkBundleFits(spec, { bytes: 2 ** 30, entries: 1 })).to.not.throw();
  });

  it("has room for whole pages of each file", () => {
    const pageBytes = 4096;
    expect(roomForBundle({ bytes: 100, entries: 100 })).to.be.at.least(100 * pageBytes);
    expect(roomForBundle({ bytes: 1, entries: 0 }) % pageBytes).to.equal(0);
  });

  it("is told to who enrols, and an image is not", () => {
    expect(launchBundle(spec)).to.deep.equal({ bundle: { digest, folder: "/function" } });
    expect(launchBundle({ ...spec, image: "app:1" })).to.deep.equal({});
  });
});
