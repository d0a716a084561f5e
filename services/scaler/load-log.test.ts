import { expect } from "chai";
import { monday } from "./fixtures/loads.ts";
import { createLoadLog } from "./load-log.ts";

const name = { namespace: "ns", name: "f" };
const load = (minute: number) => ({ minute, quiet: 0, started: 1, peak: 1, meanMs: 1, first: 0, last: 0 });

const open = () => {
  const tries: string[] = [];
  const warnings: string[] = [];
  const state = { fails: false };
  const loads = createLoadLog(
    async (_name, _load, id) => {
      tries.push(id);
      if (state.fails) throw new Error("no server");
    },
    { warn: (message) => warnings.push(message) },
  );
  return { loads, tries, warnings, state };
};
const idOf = (minute: number): string => `load.f.ns.${minute}`;

describe("createLoadLog()", () => {
  it("writes nothing while another scaler is active, and what that one has not written once it is", async () => {
    const { loads, tries } = open();
    for (const minute of [monday, monday + 1]) loads.take(name, load(minute));
    loads.seen(name, monday);
    await loads.flush(false);
    expect(tries).to.deep.equal([]);
    await loads.flush(true);
    await loads.flush(true);
    expect(tries).to.deep.equal([idOf(monday + 1)]);
  });

  it("tries again what could not be written, under the same id", async () => {
    const { loads, tries, warnings, state } = open();
    state.fails = true;
    loads.take(name, load(monday));
    await loads.flush(true);
    state.fails = false;
    await loads.flush(true);
    await loads.flush(true);
    expect(tries).to.deep.equal([idOf(monday), idOf(monday)]);
    expect(warnings).to.have.length(1);
  });

  it("gives up what nobody has written for minutes", async () => {
    const { loads, tries } = open();
    for (const minute of [monday, monday + 6]) loads.take(name, load(minute));
    await loads.flush(true);
    expect(tries).to.deep.equal([idOf(monday + 6)]);
  });
});
