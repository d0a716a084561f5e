import { expect } from "chai";
import { keptLead, unlimitedCredit } from "../../schemas/invocation.ts";
import { createKeptCredit } from "./kept-credit.ts";

const createWorld = () => {
  const grants: number[] = [];
  let now = 0;
  const taken = createKeptCredit(
    (total) => grants.push(total),
    () => now,
  );
  return { grants, taken, wait: (ms: number): void => void (now += ms) };
};

describe("createKeptCredit()", () => {
  it("counts a small event as more, because the number kept is bounded, too", () => {
    const { grants, taken } = createWorld();
    for (let at = 0; at < 256; at += 1) taken(40);
    expect(grants).to.deep.equal([256 * 2048 + keptLead.bytes]);
  });

  it("counts a large event as it is", () => {
    const { grants, taken } = createWorld();
    taken(300_000);
    taken(300_000);
    expect(grants).to.deep.equal([600_000 + keptLead.bytes]);
  });

  it("tells of each second in which a slow client has moved, because one that does not is no longer waited for", () => {
    const { grants, taken, wait } = createWorld();
    taken(40);
    wait(1000);
    taken(40);
    taken(40);
    expect(grants).to.deep.equal([2 * 2048 + keptLead.bytes]);
  });

  it("grants everything once when the client is gone", () => {
    const { grants, taken, wait } = createWorld();
    taken(Number.POSITIVE_INFINITY);
    wait(5000);
    taken(40);
    taken(Number.POSITIVE_INFINITY);
    expect(grants).to.deep.equal([unlimitedCredit]);
  });
});
