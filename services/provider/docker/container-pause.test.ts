import type { Container } from "dockerode";
import { expect } from "chai";
import { collect } from "../../../test/support/collector.ts";
import { silentLog } from "../../runtime/log.ts";
import { createPause } from "./container-pause.ts";

/** A container that does as it is told, and tells what that was. */
const openContainer = (isPaused: boolean) => {
  const state = { isPaused };
  const done = collect<string>();
  const turn = (to: boolean) => async (): Promise<void> => {
    if (state.isPaused === to) throw new Error(`Container c is ${to ? "already" : "not"} paused`);
    state.isPaused = to;
    done.push(to ? "pause" : "unpause");
  };
  const inspect = async () => {
    done.push("look");
    return { State: { Paused: state.isPaused } };
  };
  const container = { pause: turn(true), unpause: turn(false), inspect } as unknown as Container;
  const warnings = collect<string>();
  const log = { ...silentLog, warn: warnings.push };
  return { state, done, warnings, pauseOf: (isFrozen = false) => createPause({ id: "r", container, isFrozen, log }) };
};

describe("createPause()", () => {
  it("has a container go on that somebody else has paused, and says so once", async () => {
    const { done, warnings, pauseOf } = openContainer(true);
    const pause = pauseOf();
    pause.undo();
    pause.undo();
    expect(await done.reach(3)).to.deep.equal(["look", "unpause", "look"]);
    expect(warnings.all).to.deep.equal(["a replica was paused by somebody else; it is made to go on"]);
  });

  it("leaves one paused that is frozen, by us or by an earlier provider", async () => {
    for (const isFrozen of [true, false]) {
      const { done, state, pauseOf } = openContainer(isFrozen);
      const pause = pauseOf(isFrozen);
      await pause.freeze();
      pause.undo();
      await pause.freeze();
      expect([state.isPaused, done.all.includes("look")]).to.deep.equal([true, false]);
    }
  });

  it("undoes no later freeze by an older sight of a pause", async () => {
    const { done, state, pauseOf } = openContainer(false);
    const pause = pauseOf();
    await pause.freeze();
    const thawed = pause.thaw();
    pause.undo();
    await Promise.all([thawed, pause.freeze()]);
    expect([state.isPaused, done.all]).to.deep.equal([true, ["pause", "unpause", "look", "pause"]]);
  });

  it("takes a thaw by somebody else for its own, and rejects with the engine's reason otherwise", async () => {
    const { state, pauseOf } = openContainer(true);
    const pause = pauseOf(true);
    state.isPaused = false;
    await pause.thaw();
    const container = { pause: () => Promise.reject(new Error("(HTTP code 500) server error - no freezer")) };
    const broken = createPause({ id: "r", container: container as never, isFrozen: false, log: silentLog });
    const error: unknown = await broken.freeze().catch((reason: unknown) => reason);
    expect(String(error)).to.include("the engine could not freeze replica r: no freezer");
  });
});
