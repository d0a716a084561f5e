import { expect } from "chai";
import type { ReplicaRecord } from "../../schemas/function.ts";
import type { ReplicaState } from "../../schemas/subjects.ts";
import { StartTimes } from "./start-times.ts";

const at = (id: string, state: ReplicaState, second: number): ReplicaRecord => ({
  id,
  state,
  revision: "r",
  since: new Date(second * 1000).toISOString(),
});

describe("StartTimes", () => {
  it("gives the longest time from starting to ready", () => {
    const times = new StartTimes();
    times.take([at("a", "starting", 10), at("b", "starting", 11)]);
    times.take([at("a", "ready", 12), at("b", "starting", 11)]);
    expect(times.longestMs).to.equal(2000);
    times.take([at("a", "ready", 12), at("b", "ready", 16)]);
    times.take([at("a", "ready", 12), at("b", "ready", 16)]);
    expect(times.longestMs).to.equal(5000);
  });

  it("counts neither a start that failed nor one that was not seen, nor what wakes", () => {
    const times = new StartTimes();
    times.take([at("a", "starting", 10), at("b", "frozen", 1), at("c", "starting", 10)]);
    times.take([at("a", "exited", 90), at("b", "ready", 99)]);
    expect(times.longestMs).to.equal(undefined);
  });

  it("forgets all but the last ten", () => {
    const times = new StartTimes();
    for (let n = 0; n <= 10; n += 1) {
      times.take([at(`r${n}`, "starting", 0)]);
      times.take([at(`r${n}`, "ready", n === 0 ? 60 : 1)]);
    }
    expect(times.longestMs).to.equal(1000);
  });
});
