import { expect } from "chai";
import { answerProbe } from "./health.ts";

describe("answerProbe()", () => {
  const cases = [
    ["GET", "/_/health", "", 200],
    ["GET", "/_/health", "/own", 200],
    ["GET", "/_/ready", "", 200],
    ["POST", "/_/health", "", 405],
    ["POST", "/_/ready", "/own", 405],
  ] as const;
  for (const [method, path, readyPath, status] of cases)
    it(`answers ${method} ${path} with ${status}${readyPath ? ` and ready_path ${readyPath}` : ""}`, () => {
      const probe = answerProbe({ method, path, headers: [] }, readyPath);
      expect(probe?.kind === "answer" && probe.answer.status).to.equal(status);
    });

  it("asks the function's own ready_path where it is set", () => {
    expect(answerProbe({ method: "GET", path: "/_/ready", headers: [] }, "/own")).to.deep.equal({
      kind: "ask",
      path: "/own",
    });
  });

  for (const path of ["/", "/_/other", "/_/health/x", "/x/_/health"])
    it(`leaves ${path} to the function`, () => {
      expect(answerProbe({ method: "GET", path, headers: [] }, "")).to.equal(undefined);
    });
});
