import { expect } from "chai";
import { createKeyedQueue } from "./keyed-queue.ts";

const gate = () => {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
};

describe("createKeyedQueue()", () => {
  it("runs tasks of one key in the order given, and those of another meanwhile", async () => {
    const queue = createKeyedQueue();
    const { open, opened } = gate();
    const order: string[] = [];
    const first = queue("a", async () => {
      await opened;
      order.push("a1");
    });
    const second = queue("a", async () => order.push("a2"));
    await queue("b", async () => order.push("b"));
    expect(order).to.deep.equal(["b"]);
    open();
    await Promise.all([first, second]);
    expect(order).to.deep.equal(["b", "a1", "a2"]);
  });

  it("goes on after a task that failed, because the next wish is another one's", async () => {
    const queue = createKeyedQueue();
    const failed = queue("a", async () => {
      throw new Error("no");
    }).catch((error: unknown) => String(error));
    expect(await queue("a", async () => "next")).to.equal("next");
    expect(await failed).to.equal("Error: no");
  });
});
