import { expect } from "chai";
import { BuskerError } from "../../schemas/errors.ts";
import { readTracingConfig } from "./tracing-config.ts";

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };
const usual = { isParentBased: true, ratio: 1 };
const delayMs = 1000;
const url = "http://collector:4318/v1/traces";

describe("readTracingConfig()", () => {
  const cases = [
    { env: {}, gives: undefined },
    { env: { OTEL_EXPORTER_OTLP_ENDPOINT: "" }, gives: undefined },
    { env: endpoint, gives: { url, delayMs, sampling: usual } },
    {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector/otlp/" },
      gives: { url: "https://collector/otlp/v1/traces", delayMs, sampling: usual },
    },
    {
      env: { ...endpoint, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://other:4318/traces" },
      gives: { url: "http://other:4318/traces", delayMs, sampling: usual },
    },
    { env: { ...endpoint, OTEL_SDK_DISABLED: "true" }, gives: undefined },
    { env: { ...endpoint, OTEL_TRACES_EXPORTER: "none" }, gives: undefined },
    {
      env: { ...endpoint, OTEL_TRACES_SAMPLER: "always_off" },
      gives: { url, delayMs, sampling: { isParentBased: false, ratio: 0 } },
    },
    {
      env: { ...endpoint, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.25" },
      gives: { url, delayMs, sampling: { isParentBased: false, ratio: 0.25 } },
    },
    {
      env: { ...endpoint, OTEL_BSP_SCHEDULE_DELAY: "50" },
      gives: { url, delayMs: 50, sampling: usual },
    },
    {
      env: { ...endpoint, OTEL_TRACES_SAMPLER: "parentbased_traceidratio" },
      gives: { url, delayMs, sampling: usual },
    },
    {
      env: { ...endpoint, OTEL_TRACES_SAMPLER: "parentbased_always_on", OTEL_TRACES_SAMPLER_ARG: "endpoint=x" },
      gives: { url, delayMs, sampling: usual },
    },
  ];
  for (const { env, gives } of cases)
    it(`gives ${JSON.stringify(gives)} for ${JSON.stringify(env)}`, () =>
      expect(readTracingConfig(env)).to.deep.equal(gives));

  const refused = [
    { OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" },
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "grpc://collector" },
    { OTEL_TRACES_SAMPLER: "jaeger_remote" },
    { OTEL_TRACES_EXPORTER: "zipkin" },
    { OTEL_SDK_DISABLED: "yes" },
    { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
    { OTEL_TRACES_SAMPLER_ARG: "2" },
    { OTEL_BSP_SCHEDULE_DELAY: "soon" },
  ];
  for (const fault of refused)
    it(`names ${Object.keys(fault).join()} of ${Object.values(fault).join()}`, () => {
      const read = () => readTracingConfig({ ...endpoint, OTEL_TRACES_SAMPLER: "traceidratio", ...fault });
      expect(read).to.throw(BuskerError, Object.keys(fault)[0]);
    });
});
