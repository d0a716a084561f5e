import { expect } from "chai";
import { type Taker, Turnstile, type TurnstileLimits } from "./turnstile.ts";

interface TestTaker extends Taker {
  inHand: number;
  wants: number;
  /** What it was given, and how to say that it has come. */
  readonly given: { readonly batch: number; readonly ended: () => void }[];
}

const createTaker = (order: TestTaker[], more: Partial<TestTaker> = {}): TestTaker => {
  const taker: TestTaker = {
    inHand: 0,
    wants: 1,
    expectedBytes: 1,
    given: [],
    wanted: () => taker.wants,
    take: (batch, ended) => {
      order.push(taker);
      taker.given.push({ batch, ended });
    },
    ...more,
  };
  return taker;
};

const open = (more: Partial<TurnstileLimits> = {}): Turnstile =>
  new Turnstile({ maxCalls: 10, maxBytes: 1000, ...more });

/** Everybody who may has been let in. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What was asked for comes. */
const arrive = (turnstile: Turnstile, taker: TestTaker, bytes = 1): void => {
  const { batch, ended } = taker.given.at(-1) ?? { batch: 0, ended: () => {} };
  for (let at = 0; at < batch; at += 1) turnstile.came(bytes);
  taker.inHand += batch;
  taker.wants -= batch;
  ended();
};

describe("Turnstile", () => {
  it("gives a taker what it wants when it is alone, and no more than there may be", async () => {
    const order: TestTaker[] = [];
    const turnstile = open();
    const taker = createTaker(order, { wants: 25 });
    turnstile.enter(taker);
    await settled();
    expect(taker.given[0]?.batch).to.equal(10);
    arrive(turnstile, taker);
    turnstile.enter(taker);
    await settled();
    expect(taker.given).to.have.length(1);
    turnstile.went(1);
    await settled();
    expect(taker.given.map(({ batch }) => batch)).to.deep.equal([10, 1]);
  });

  it("shares what there is among those in line, in the order in which they came", async () => {
    const order: TestTaker[] = [];
    const turnstile = open();
    const takers = [1, 2, 3].map(() => createTaker(order, { wants: 100 }));
    for (const taker of takers) turnstile.enter(taker);
    await settled();
    expect(order).to.deep.equal(takers);
    expect(takers.map(({ given }) => given[0]?.batch)).to.deep.equal([3, 3, 4]);
  });

  it("lets in who has nothing in hand however full it is, and nobody else", async () => {
    const order: TestTaker[] = [];
    const turnstile = open();
    const hog = createTaker(order, { wants: 100 });
    turnstile.enter(hog);
    await settled();
    arrive(turnstile, hog);
    turnstile.enter(hog);
    const fresh = createTaker(order, { wants: 5 });
    turnstile.enter(fresh);
    await settled();
    expect(order).to.deep.equal([hog, fresh]);
    expect(fresh.given[0]?.batch).to.equal(1);
  });

  it("lets in who waited among the others when nothing is left in its hand", async () => {
    const order: TestTaker[] = [];
    const turnstile = open();
    const hog = createTaker(order, { wants: 100 });
    turnstile.enter(hog);
    await settled();
    arrive(turnstile, hog);
    const waiting = createTaker(order, { inHand: 1 });
    turnstile.enter(waiting);
    await settled();
    expect(order).to.deep.equal([hog]);
    waiting.inHand = 0;
    turnstile.enter(waiting);
    await settled();
    expect(order).to.deep.equal([hog, waiting]);
  });

  it("counts what is on its way as it is expected to weigh, and what is there as it does", async () => {
    const order: TestTaker[] = [];
    const turnstile = open({ maxCalls: 1000, maxBytes: 1000 });
    const taker = createTaker(order, { wants: 50, expectedBytes: 100 });
    turnstile.enter(taker);
    await settled();
    expect(taker.given[0]?.batch).to.equal(10);
    arrive(turnstile, taker, 90);
    turnstile.enter(taker);
    await settled();
    expect(taker.given[1]?.batch).to.equal(1);
  });

  it("stops even those with nothing in hand at four times its bytes", async () => {
    const order: TestTaker[] = [];
    const turnstile = open();
    for (let at = 0; at < 8; at += 1) {
      const taker = createTaker(order, { expectedBytes: 600 });
      turnstile.enter(taker);
      await settled();
      if (taker.given.length > 0) arrive(turnstile, taker, 600);
    }
    expect(order).to.have.length(7);
  });

  it("lets nobody in who wants nothing any more, and nobody at all when it is closed", async () => {
    const order: TestTaker[] = [];
    const turnstile = open();
    const changed = createTaker(order, { wants: 0 });
    const other = createTaker(order);
    turnstile.enter(changed);
    turnstile.enter(other);
    await settled();
    expect(order).to.deep.equal([other]);
    turnstile.close();
    turnstile.enter(createTaker(order));
    await settled();
    expect(order).to.deep.equal([other]);
  });
});
