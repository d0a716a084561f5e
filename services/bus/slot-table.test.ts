import { expect } from "chai";
import { freeSlots, SlotTable } from "./slot-table.ts";

const tableOf = (replicas: readonly { id: string; slots: number; mine: number; others: number }[]): SlotTable => {
  const table = new SlotTable("openfaas-fn", "f");
  for (const { id, slots, mine, others } of replicas) {
    const replica = table.enter(id, slots, others, 0);
    replica.mine = mine;
  }
  return table;
};

const choices = (table: SlotTable): Set<string | undefined> => {
  const seen = new Set<string | undefined>();
  for (let step = 0; step < 100; step += 1) seen.add(table.choose(() => step / 100)?.id);
  return seen;
};

describe("SlotTable.choose()", () => {
  const cases = [
    { title: "nobody when there is no replica", replicas: [], chosen: [undefined] },
    {
      title: "nobody when all slots are taken",
      replicas: [{ id: "a", slots: 1, mine: 1, others: 0 }],
      chosen: [undefined],
    },
    {
      title: "nobody when others have the slots",
      replicas: [{ id: "a", slots: 2, mine: 0, others: 2 }],
      chosen: [undefined],
    },
    {
      title: "each with a free slot, at random among them",
      replicas: [
        { id: "a", slots: 1, mine: 0, others: 0 },
        { id: "b", slots: 1, mine: 1, others: 0 },
        { id: "c", slots: 3, mine: 1, others: 1 },
      ],
      chosen: ["a", "c"],
    },
    {
      title: "of replicas without a limit the one with the fewest calls",
      replicas: [
        { id: "a", slots: 0, mine: 2, others: 0 },
        { id: "b", slots: 0, mine: 0, others: 1 },
        { id: "c", slots: 0, mine: 5, others: 0 },
      ],
      chosen: ["b"],
    },
    {
      title: "all of several equal ones without a limit",
      replicas: [
        { id: "a", slots: 0, mine: 1, others: 0 },
        { id: "b", slots: 0, mine: 0, others: 1 },
      ],
      chosen: ["a", "b"],
    },
  ];
  for (const { title, replicas, chosen } of cases)
    it(`chooses ${title}`, () => {
      expect([...choices(tableOf(replicas))]).to.have.members(chosen);
    });

  it("does not choose a replica that was struck out", () => {
    const table = tableOf([{ id: "a", slots: 1, mine: 0, others: 0 }]);
    table.strike("a");
    expect(table.choose(() => 0)).to.equal(undefined);
  });
});

describe("freeSlots()", () => {
  it("counts own calls and those of others", () => {
    const [replica] = tableOf([{ id: "a", slots: 4, mine: 1, others: 2 }]).list;
    expect(replica && freeSlots(replica)).to.equal(1);
  });
});
