import { expect } from "chai";
import { Bag, type BagItem } from "./bag.ts";

const itemOf = (name: string): BagItem & { readonly name: string } => ({ bagIndex: -1, name });

describe("Bag", () => {
  it("holds what was added and not taken out, whichever is taken out", () => {
    for (const taken of [0, 1, 2]) {
      const bag = new Bag<ReturnType<typeof itemOf>>();
      const items = ["a", "b", "c"].map(itemOf);
      for (const item of items) bag.add(item);
      const item = items[taken];
      expect(item && bag.remove(item)).to.equal(true);
      expect(item && bag.remove(item), "only once").to.equal(false);
      expect(bag.snapshot()).to.have.members(items.filter((_, at) => at !== taken));
      expect(bag.size).to.equal(2);
    }
  });

  it("does not take out what is in another bag", () => {
    const [first, second] = [new Bag<BagItem>(), new Bag<BagItem>()];
    const [mine, other] = [itemOf("mine"), itemOf("other")];
    first.add(mine);
    second.add(other);
    expect(second.remove(mine)).to.equal(false);
    expect(second.size).to.equal(1);
  });
});
