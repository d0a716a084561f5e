import { expect } from "chai";
import { parseCpuMillicores, parseMemoryBytes } from "./quantity.ts";

describe("parseMemoryBytes()", () => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ["128Mi", 134_217_728],
    ["1Gi", 1_073_741_824],
    ["1G", 1_000_000_000],
    ["64k", 64_000],
    ["1.5Ki", 1536],
    ["67108864", 67_108_864],
    ["1e3", 1000],
    ["0.3", 1],
    ["0", undefined],
    ["-5Mi", undefined],
    ["128MB", undefined],
    ["128mi", undefined],
    ["lots", undefined],
    ["", undefined],
    ["16Ei", undefined],
  ];
  for (const [text, bytes] of cases)
    it(`reads ${JSON.stringify(text)} as ${bytes} bytes, as Kubernetes does`, () => {
      expect(parseMemoryBytes(text)).to.equal(bytes);
    });
});

describe("parseCpuMillicores()", () => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ["100m", 100],
    ["0.5", 500],
    ["2", 2000],
    ["0.29", 290],
    [".1", 100],
    ["1u", 1],
    ["0m", undefined],
    ["half", undefined],
  ];
  for (const [text, millicores] of cases)
    it(`reads ${JSON.stringify(text)} as ${millicores} thousandths of a core, as Kubernetes does`, () => {
      expect(parseCpuMillicores(text)).to.equal(millicores);
    });
});
