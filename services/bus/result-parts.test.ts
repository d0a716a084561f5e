import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { BuskerError } from "../../schemas/errors.ts";
import { within } from "../../test/support/collector.ts";
import type { AcknowledgedPublisher } from "./acknowledged.ts";
import { decodeFrame } from "./frames.ts";
import { writtenResponse } from "./fixtures/written-response.ts";
import { collectOrPart, type KeptResponse } from "./result-parts.ts";

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

/** A stream that has what is published once `acknowledge` says so. */
const gatedStream = () => {
  const waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const parts: { readonly kind: string; readonly number: number; readonly data: Buffer }[] = [];
  let isOpen = false;
  const acknowledged: AcknowledgedPublisher = {
    publish: (_subject, payload, headers) => {
      const block = Buffer.from((headers as unknown as { encode: () => Uint8Array }).encode()).toString();
      const frame = decodeFrame(block);
      parts.push({ kind: frame?.kind ?? "none", number: frame?.number ?? -1, data: Buffer.from(payload) });
      if (isOpen) return Promise.resolve({ seq: 1, isDuplicate: false });
      return new Promise((resolve, reject) =>
        waiting.push({ resolve: () => resolve({ seq: 1, isDuplicate: false }), reject }),
      );
    },
    close: () => {},
  };
  return {
    acknowledged,
    parts,
    names: () => parts.map(({ kind, number }) => `${kind} ${number}`),
    waiting: () => waiting.length,
    acknowledge: (count = waiting.length) => {
      for (const { resolve } of waiting.splice(0, count)) resolve();
    },
    open: () => {
      isOpen = true;
      for (const { resolve } of waiting.splice(0)) resolve();
    },
    refuse: (error: Error) => {
      for (const { reject } of waiting.splice(0)) reject(error);
    },
  };
};

type Written = ReturnType<typeof writtenResponse>;

const keep = (stream: ReturnType<typeof gatedStream>, { result, cancel }: Written, maxBytes = 1024 * mebibyte) =>
  within(collectOrPart(stream.acknowledged, { id: "c1", attempt: 2, result, cancel, maxBytes }), "what it becomes");

const partsOf = (kept: KeptResponse): Extract<KeptResponse, { kind: "parts" }> => {
  if (kept.kind !== "parts") throw new Error(`it is ${kept.kind}`);
  return kept;
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("collectOrPart()", () => {
  it("gives a response whole that is small and there in a moment, and writes nothing", async () => {
    const stream = gatedStream();
    const written = writtenResponse({ status: 200, headers: [] }, "one ");
    const kept = keep(stream, written);
    written.write("two ");
    written.write("three");
    written.end();
    const response = await kept;
    expect(response.kind === "whole" && Buffer.from(response.body).toString()).to.equal("one two three");
    expect(stream.parts).to.deep.equal([]);
    expect(written.told.consumedBytes).to.equal("one two three".length);
  });

  it("gives one of exactly 1 MiB whole, however small its sender's window", async () => {
    const stream = gatedStream();
    const written = writtenResponse();
    const kept = keep(stream, written);
    for (let at = 0; at < mebibyte; at += 32 * kibibyte) {
      expect(at - written.told.consumedBytes).to.equal(0);
      written.write(Buffer.alloc(32 * kibibyte));
    }
    written.end();
    const response = await kept;
    expect(response.kind === "whole" && response.body.length).to.equal(mebibyte);
  });

  it("says that one broke off that was small", async () => {
    const written = writtenResponse();
    const kept = keep(gatedStream(), written);
    written.write("half");
    written.fail(new BuskerError("replica_lost", "gone"));
    const response = await kept;
    expect(response.kind === "broken" && response.error.code).to.equal("replica_lost");
  });

  it("writes a larger one in parts of 256 KiB at most, complete only when all are kept", async () => {
    const stream = gatedStream();
    const written = writtenResponse({ status: 201, headers: ["a", "b"] });
    const kept = keep(stream, written);
    const content = randomBytes(2 * mebibyte + 5);
    for (let at = 0; at < content.length; at += 100_000) written.write(content.subarray(at, at + 100_000));
    written.end();
    stream.open();
    const { ended } = partsOf(await kept);
    expect(await within(ended, "its end")).to.deep.equal({ kind: "complete", bytes: content.length });
    expect(stream.names()[0]).to.equal("head 0");
    expect(stream.names().at(-1)).to.equal(`end ${stream.parts.length - 1}`);
    expect(stream.parts.map(({ number }) => number)).to.deep.equal([...stream.parts.keys()]);
    for (const { data } of stream.parts) expect(data.length).to.be.at.most(256 * kibibyte);
    expect(Buffer.concat(stream.parts.map(({ data }) => data)).equals(content)).to.equal(true);
  });

  it("writes one in parts that is not complete in a moment, each as it comes", async () => {
    const stream = gatedStream();
    stream.open();
    const written = writtenResponse({ status: 200, headers: [] }, "tick ");
    const { ended } = partsOf(await keep(stream, written));
    expect(stream.names()).to.deep.equal(["head 0", "data 1"]);
    await turn();
    written.write("tock");
    expect(stream.names().at(-1)).to.equal("data 2");
    written.end();
    expect(await within(ended, "its end")).to.deep.equal({ kind: "complete", bytes: 9 });
  });

  it("holds the function back while the stream is slower than it is: credit only for what is kept", async () => {
    const stream = gatedStream();
    const written = writtenResponse();
    const kept = keep(stream, written);
    // The sender's window is a MiB: what it may send beyond is what is consumed.
    const sendAll = (total: number): number => {
      let sent = 0;
      while (sent < total && sent - written.told.consumedBytes < mebibyte) {
        written.write(Buffer.alloc(32 * kibibyte));
        sent += 32 * kibibyte;
      }
      return sent;
    };
    const sent = sendAll(64 * mebibyte);
    expect(sent).to.be.at.most(2 * mebibyte + 32 * kibibyte);
    await turn();
    expect(stream.waiting()).to.be.at.most(9);
    stream.acknowledge();
    const { abort } = partsOf(await kept);
    await turn();
    expect(written.told.consumedBytes).to.be.greaterThan(mebibyte).and.at.most(sent);
    abort(new BuskerError("cancelled", "enough"));
    stream.open();
  });

  it("puts small writes together while a part is on its way", async () => {
    const stream = gatedStream();
    stream.open();
    const written = writtenResponse({ status: 200, headers: [] }, "x");
    partsOf(await keep(stream, written));
    await turn();
    const before = stream.parts.length;
    for (let count = 0; count < 1000; count += 1) written.write("y");
    written.end();
    await turn();
    expect(stream.parts.length - before).to.be.at.most(4);
    expect(Buffer.concat(stream.parts.map(({ data }) => data)).length).to.equal(1001);
  });

  it("keeps what came of one that breaks off, and why", async () => {
    const stream = gatedStream();
    stream.open();
    const written = writtenResponse({ status: 200, headers: [] }, "x");
    const { ended } = partsOf(await keep(stream, written));
    written.write("y");
    written.fail(new BuskerError("replica_lost", "it is gone"));
    const end = await within(ended, "its end");
    expect(end.kind === "broken" && end.error.code).to.equal("replica_lost");
    expect(stream.names().at(-1)).to.equal(`abort ${stream.parts.length - 1}`);
    expect(stream.parts.at(-1)?.data.toString()).to.equal("it is gone");
  });

  it("stops the function and says response_too_large beyond the limit", async () => {
    const stream = gatedStream();
    stream.open();
    const written = writtenResponse();
    const kept = keep(stream, written, 2 * mebibyte);
    for (let count = 0; count < 20; count += 1) written.write(Buffer.alloc(128 * kibibyte));
    const { ended } = partsOf(await kept);
    const end = await within(ended, "its end");
    expect(end.kind === "broken" && end.error.code).to.equal("response_too_large");
    expect(written.told.cancelled).to.equal(1);
    expect(stream.names().at(-1)).to.match(/^abort/);
  });

  it("stops the function when a part cannot be kept, and takes a full stream for a failure that passes", async () => {
    const stream = gatedStream();
    const written = writtenResponse({ status: 200, headers: [] }, "x");
    const kept = keep(stream, written);
    stream.acknowledge();
    while (stream.parts.length === 0) await turn();
    stream.refuse(new BuskerError("queue_full", "no space left"));
    const end = await within(partsOf(await kept).ended, "its end");
    expect(end.kind === "broken" && end.error.code).to.equal("bus_unavailable");
    expect(end.kind === "broken" && end.error.message).to.contain("no space left");
    expect(written.told.cancelled).to.equal(1);
  });
});
