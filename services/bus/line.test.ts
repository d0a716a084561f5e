import { expect } from "chai";
import { Line } from "./line.ts";

describe("Line", () => {
  it("serves first come, first served, because a call that waits longest goes first", () => {
    const line = new Line<number>();
    for (const item of [1, 2, 3]) line.push(item);
    expect([line.shift(), line.shift(), line.shift(), line.shift()]).to.deep.equal([1, 2, 3, undefined]);
  });

  it("lets one leave from any place, once", () => {
    for (const leaver of [0, 1, 2]) {
      const line = new Line<number>();
      const places = [0, 1, 2].map((item) => line.push(item));
      const place = places[leaver];
      expect(place && line.leave(place)).to.equal(true);
      expect(place && line.leave(place)).to.equal(false);
      expect([...line]).to.deep.equal([0, 1, 2].filter((item) => item !== leaver));
      expect(line.length).to.equal(2);
    }
  });

  it("takes one back at its head, because it was served in vain", () => {
    const line = new Line<number>();
    line.push(1);
    line.unshift(0);
    expect(line.first).to.equal(0);
    expect([...line]).to.deep.equal([0, 1]);
  });

  it("is empty and usable again after the last has left", () => {
    const line = new Line<number>();
    line.leave(line.push(1));
    expect(line.first).to.equal(undefined);
    line.push(2);
    expect([...line]).to.deep.equal([2]);
  });
});
