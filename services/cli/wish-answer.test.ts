import { expect } from "chai";
import type { BuskerError } from "../../schemas/errors.ts";
import { type FakeAnswer, type FakeGateway, startFakeGateway } from "./fixtures/fake-gateway.ts";
import { runInMemory } from "./fixtures/run-in-memory.ts";
import { readWishAnswer } from "./wish-answer.ts";

const lines = (...values: readonly object[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join("");
const progress = [{ progress: "pulling x:1" }, { progress: "pulling x:1: 1 of 2 layers" }] as const;
const type = { "content-type": "application/x-ndjson" };

describe("readWishAnswer()", () => {
  const read = async (body: string) => {
    const told: string[] = [];
    const answer = await readWishAnswer("deploy fn", new Response(body, { headers: type }), (text) =>
      told.push(text),
    ).catch((error: BuskerError) => ({ code: error.code, message: error.message }));
    return { told, answer };
  };
  const sentences = progress.map((line) => line.progress);

  it("tells each word of progress and gives the outcome", async () => {
    const outcome = { wish: "w", replicas: 2, availableReplicas: 1 };
    expect(await read(lines(...progress, { outcome }))).to.deep.equal({
      told: sentences,
      answer: { replicas: 2, availableReplicas: 1 },
    });
  });

  it("rejects with the error at the end as if it had been the status", async () => {
    const error = { code: "registry_unavailable", status: 502, message: "no such host" };
    expect(await read(lines(...progress, { error }))).to.deep.equal({
      told: sentences,
      answer: { code: "registry_unavailable", message: "cannot deploy fn: no such host (HTTP 502)" },
    });
  });

  it("rejects when the answer breaks off, because nobody knows what became of it", async () => {
    const { answer } = await read(lines(...progress));
    expect(answer).to.include({ code: "bus_unavailable" }).and.have.property("message").that.contains("broke off");
  });
});

describe("busker deploy", () => {
  let gateway: FakeGateway;
  afterEach(() => gateway.close());

  it("shows progress on standard error and the outcome on standard output", async () => {
    const answer: FakeAnswer = (response) => {
      response.writeHead(202, type);
      response.write(lines(...progress));
      response.end(lines({ outcome: { wish: "w", replicas: 1, availableReplicas: 1 } }));
    };
    gateway = await startFakeGateway({ "PUT /system/functions": answer });
    const { code, stdout, stderr } = await runInMemory(["deploy", "--image", "x:1", "-g", gateway.url]);
    expect([code, stderr]).to.deep.equal([0, "busker: pulling x:1\nbusker: pulling x:1: 1 of 2 layers\n"]);
    expect(stdout.toString()).to.contain("x.openfaas-fn updated");
    expect(gateway.seen[0]?.headers.accept).to.contain("application/x-ndjson");
  });
});
