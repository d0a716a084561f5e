import { expect } from "chai";
import { offerHoldMs } from "../schemas/invocation.ts";
import { SlotKeeper } from "./slot-keeper.ts";

const open = (slots: number): { keeper: SlotKeeper; offers: string[] } => {
  const offers: string[] = [];
  return { keeper: new SlotKeeper(slots, (reply) => offers.push(reply)), offers };
};

describe("SlotKeeper", () => {
  it("never has more in flight than slots", () => {
    const { keeper } = open(2);
    expect([keeper.take("a"), keeper.take("b"), keeper.take("c")]).to.deep.equal([true, true, false]);
    expect(keeper.inFlight).to.equal(2);
  });

  it("takes any number when slots are 0", () => {
    const { keeper } = open(0);
    for (let call = 0; call < 1000; call += 1) expect(keeper.take("a")).to.equal(true);
  });

  it("offers a freed slot to the caller that has waited longest, and holds it for that one", () => {
    const { keeper, offers } = open(1);
    keeper.take("a");
    keeper.reserve("b", 200, "reply-b");
    keeper.reserve("c", 100, "reply-c");
    expect(keeper.release("a")).to.equal(false);
    expect(offers).to.deep.equal(["reply-c"]);
    expect(keeper.take("b"), "b must not take c's slot").to.equal(false);
    expect(keeper.loadFor("a"), "a must see it as taken").to.equal(1);
    expect(keeper.loadFor("c"), "c must see it as free").to.equal(0);
    expect(keeper.take("c")).to.equal(true);
  });

  it("tells a caller in its own reply that its reservation came up, without a message more", () => {
    const { keeper, offers } = open(1);
    keeper.take("a");
    keeper.reserve("a", 100, "reply-a");
    expect(keeper.release("a")).to.equal(true);
    expect(offers).to.deep.equal([]);
    expect(keeper.take("b")).to.equal(false);
    expect(keeper.take("a")).to.equal(true);
  });

  it("offers at once when a slot is free", () => {
    const { keeper, offers } = open(1);
    keeper.reserve("b", 1, "reply-b");
    expect(offers).to.deep.equal(["reply-b"]);
  });

  it("passes a withdrawn slot on to the next", () => {
    const { keeper, offers } = open(1);
    keeper.take("a");
    keeper.reserve("b", 1, "reply-b");
    keeper.reserve("c", 2, "reply-c");
    keeper.release("a");
    keeper.withdraw("b");
    expect(offers).to.deep.equal(["reply-b", "reply-c"]);
  });

  it("offers nothing to a caller that withdrew before its turn", () => {
    const { keeper, offers } = open(1);
    keeper.take("a");
    keeper.reserve("b", 1, "reply-b");
    keeper.withdraw("b");
    keeper.release("a");
    expect(offers).to.deep.equal([]);
    expect(keeper.take("a")).to.equal(true);
  });

  it("lets go of a hold whose caller never came, so that no slot is lost", () => {
    const { keeper } = open(1);
    keeper.reserve("gone", 1, "reply");
    expect(keeper.take("a")).to.equal(false);
    keeper.expire(Date.now() + offerHoldMs + 1);
    expect(keeper.take("a")).to.equal(true);
  });

  it("keeps one reservation a caller, the latest", () => {
    const { keeper, offers } = open(1);
    keeper.take("a");
    keeper.reserve("b", 1, "first");
    keeper.reserve("b", 2, "second");
    keeper.release("a");
    expect(offers).to.deep.equal(["second"]);
  });

  it("takes nothing when closed, and again when reopened", () => {
    const { keeper } = open(0);
    keeper.close();
    expect(keeper.take("a")).to.equal(false);
    keeper.reopen();
    expect(keeper.take("a")).to.equal(true);
  });
});
