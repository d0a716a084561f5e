import { expect } from "chai";
import { describeProgress, noProgress, noteLine, type PullLine } from "./pull-progress.ts";

const after = (lines: readonly PullLine[]): string => describeProgress("x:1", lines.reduce(noteLine, noProgress));
const downloading = (id: string, current: number, total: number): PullLine => ({
  id,
  status: "Downloading",
  progressDetail: { current, total },
});

describe("describeProgress()", () => {
  const begun = ["a", "b", "c"].map((id) => ({ id, status: "Pulling fs layer", progressDetail: {} }));
  const cases: readonly (readonly [string, readonly PullLine[], string])[] = [
    ["nothing is known", [], "pulling x:1"],
    ["only the image was named", [{ id: "1", status: "Pulling from x" }], "pulling x:1"],
    ["layers are known and no size", begun, "pulling x:1: 0 of 3 layers"],
    [
      "two layers come",
      [...begun, downloading("a", 1e6, 4e6), downloading("b", 2e6, 6e6), downloading("a", 3e6, 4e6)],
      "pulling x:1: 0 of 3 layers, 5 of 10 MB",
    ],
    [
      "one layer is here and another was before",
      [
        ...begun,
        downloading("a", 1e6, 4e6),
        { id: "a", status: "Download complete" },
        { id: "a", status: "Extracting", progressDetail: { current: 2e6, total: 4e6 } },
        { id: "a", status: "Pull complete" },
        { id: "b", status: "Already exists" },
      ],
      "pulling x:1: 2 of 3 layers, 4 of 4 MB",
    ],
    [
      "a download is begun anew",
      [downloading("a", 3e6, 4e6), { id: "a", status: "Waiting" }, downloading("a", 1e6, 4e6)],
      "pulling x:1: 0 of 1 layers, 1 of 4 MB",
    ],
    ["an engine says what is not known here", [{ id: "a", status: "Retrying in 5 seconds" }], "pulling x:1"],
  ];
  for (const [when, lines, text] of cases) it(`says "${text}" when ${when}`, () => expect(after(lines)).to.equal(text));
});
