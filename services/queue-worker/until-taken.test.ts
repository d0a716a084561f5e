import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { untilTaken } from "./until-taken.ts";

const unavailable = new BuskerError("bus_unavailable", "away");
const never = new AbortController().signal;

describe("untilTaken()", () => {
  for (const error of [unavailable, new BuskerError("queue_full", "full")])
    it(`does it again after ${error.code}, and gives what it gives at last`, async () => {
      let count = 0;
      const result = await untilTaken(never, async () => {
        if ((count += 1) < 3) throw error;
        return "taken";
      });
      expect([result, count]).to.deep.equal(["taken", 3]);
    });

  it("does nothing again after another error", async () => {
    let count = 0;
    const error = new BuskerError("conflict", "taken by somebody else");
    const caught = await untilTaken(never, () => {
      count += 1;
      return Promise.reject(error);
    }).catch((cause: unknown) => cause);
    expect([caught, count]).to.deep.equal([error, 1]);
  });

  it("gives up when the signal says so", async () => {
    const stopping = new AbortController();
    const caught = await untilTaken(stopping.signal, () => {
      stopping.abort();
      return Promise.reject(unavailable);
    }).catch((cause: unknown) => cause);
    expect(caught).to.equal(unavailable);
  });
});
