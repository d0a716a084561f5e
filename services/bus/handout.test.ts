import { expect } from "chai";
import { readHandout } from "./handout.ts";

describe("readHandout()", () => {
  const handout = { consumer: "c", deliveryCount: 2, seq: 17, storedMs: 1_795_299_160_785.043, pending: 5 };
  const cases: readonly { name: string; reply: string | undefined; expected: typeof handout | undefined }[] = [
    { name: "what nats-server 2.9 writes", reply: "$JS.ACK.S.c.2.17.31.1795299160785043000.5", expected: handout },
    {
      name: "the longer form with domain and account, with a last token or without",
      reply: "$JS.ACK._.ACCHASH.S.c.2.17.31.1795299160785043000.5.x1",
      expected: handout,
    },
    { name: "nothing in a reply subject of somebody else", reply: "_INBOX.abc.1", expected: undefined },
    { name: "nothing where there is none", reply: undefined, expected: undefined },
    { name: "nothing in a shorter one", reply: "$JS.ACK.S.c", expected: undefined },
  ];
  for (const { name, reply, expected } of cases)
    it(`reads ${name}`, () => {
      expect(readHandout(reply)).to.deep.equal(expected);
    });
});
