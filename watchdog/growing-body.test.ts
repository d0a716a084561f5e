import { expect } from "chai";
import { maxWholeBytes } from "../schemas/invocation.ts";
import { until } from "./fixtures/open-mode.ts";
import { GrowingBody } from "./growing-body.ts";

const open = (canStream: boolean) => {
  const told: string[] = [];
  const body = new GrowingBody({
    maxBytes: 1_000_000,
    onStream: canStream ? (first) => told.push(`begins with ${first.length}`) : undefined,
    onTooLarge: () => told.push("too large"),
  });
  return { body, told };
};

const pause = (): Promise<void> => new Promise((done) => setTimeout(done, 15));

describe("GrowingBody", () => {
  it("stays whole when its end comes in time", async () => {
    const { body, told } = open(true);
    body.write(Buffer.from("a"));
    body.expectMore();
    body.write(Buffer.from("b"));
    body.expectEnd();
    await pause();
    expect([body.whole().toString(), told]).to.deep.equal(["ab", []]);
  });

  it("begins with what there is when its end does not come in time", async () => {
    const { body, told } = open(true);
    body.write(Buffer.from("abc"));
    body.expectMore();
    await until("the beginning", () => told.length > 0);
    expect(told).to.deep.equal(["begins with 3"]);
  });

  it("begins at once when it is larger than what travels whole, and only once", () => {
    const { body, told } = open(true);
    body.write(Buffer.alloc(maxWholeBytes));
    expect(told).to.deep.equal([]);
    body.write(Buffer.alloc(1));
    body.write(Buffer.alloc(maxWholeBytes * 2));
    expect(told).to.deep.equal([`begins with ${maxWholeBytes + 1}`]);
  });

  it("is collected up to its limit where it cannot be streamed", () => {
    const { body, told } = open(false);
    body.write(Buffer.alloc(1_000_000));
    body.expectMore();
    expect(told).to.deep.equal([]);
    body.write(Buffer.alloc(1));
    expect(told).to.deep.equal(["too large"]);
  });

  it("does not begin when nobody wants it any more", async () => {
    const { body, told } = open(true);
    body.write(Buffer.from("a"));
    body.expectMore();
    body.drop();
    body.expectMore();
    expect(body.write(Buffer.alloc(maxWholeBytes * 2))).to.equal(true);
    await pause();
    expect([body.whole().length, told]).to.deep.equal([0, []]);
  });
});
