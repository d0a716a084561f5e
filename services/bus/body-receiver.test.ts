import { expect } from "chai";
import { BodyReceiver } from "./body-receiver.ts";

const mebibyte = 1024 * 1024;

/** A receiver whose reader and clock a test plays. */
const createReceiver = (mostBytes = 8 * mebibyte) => {
  const world = { nowMs: 0, mostBytes, grants: [] as number[] };
  const receiver = new BodyReceiver({
    receivedBytes: 0,
    grantedBytes: mebibyte,
    windowBytes: mebibyte,
    mostBytes: () => world.mostBytes,
    grant: (total) => world.grants.push(total),
    nowMs: () => world.nowMs,
  });
  /** Reads so many bytes, half a window's share at a time, each in so many milliseconds. */
  const read = (bytes: number, msEach: number): void => {
    for (let left = bytes; left > 0; left -= mebibyte / 2) {
      world.nowMs += msEach;
      receiver.consumed(mebibyte / 2);
    }
  };
  return { world, receiver, read };
};

describe("BodyReceiver", () => {
  it("lengthens the window of a fast reader up to its share, because a short one makes both sides wait", () => {
    const { world, read } = createReceiver();
    read(64 * mebibyte, 1);
    expect((world.grants.at(-1) ?? 0) - 64 * mebibyte).to.be.within(4 * mebibyte, 8 * mebibyte);
  });

  it("keeps the window of a slow reader, because what waits for it is memory", () => {
    const { world, read } = createReceiver();
    read(64 * mebibyte, 50);
    expect((world.grants.at(-1) ?? 0) - 64 * mebibyte).to.equal(mebibyte);
  });

  it("shortens the window when more streams share the memory, and takes back no credit", () => {
    const { world, read } = createReceiver();
    read(16 * mebibyte, 1);
    const before = world.grants.at(-1) ?? 0;
    world.mostBytes = mebibyte / 4;
    read(16 * mebibyte, 1);
    expect(world.grants.every((total, at) => at === 0 || total >= (world.grants[at - 1] ?? 0))).to.equal(true);
    expect(world.grants.at(-1)).to.be.greaterThan(before);
    expect((world.grants.at(-1) ?? 0) - 32 * mebibyte).to.equal(mebibyte / 4);
  });
});
