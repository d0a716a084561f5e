import { BuskerError } from "../../schemas/errors.ts";
import type { SamplingPolicy } from "../../schemas/span.ts";
import { type Environment, type Field, integerField, readConfig } from "./config.ts";

/** Where spans go, and which. What else OpenTelemetry's variables say (headers, timeout, sizes) its own packages read. */
export interface TracingConfig {
  /** Where spans are posted. */
  readonly url: string;
  /** How long a span may wait for others to be posted with, in milliseconds. */
  readonly delayMs: number;
  readonly sampling: SamplingPolicy;
}

const samplers = {
  always_on: { isParentBased: false, ratio: 1 },
  always_off: { isParentBased: false, ratio: 0 },
  traceidratio: { isParentBased: false, ratio: undefined },
  parentbased_always_on: { isParentBased: true, ratio: 1 },
  parentbased_always_off: { isParentBased: true, ratio: 0 },
  parentbased_traceidratio: { isParentBased: true, ratio: undefined },
} as const;
type SamplerName = keyof typeof samplers;
const samplerNames = Object.keys(samplers) as SamplerName[];

const urlField = (key: string): Field<URL | undefined> => ({
  key,
  read: (text) => {
    if (text === undefined) return undefined;
    if (/^https?:/i.test(text) && URL.canParse(text)) return new URL(text);
    throw new RangeError("must be an http or https URL");
  },
});

/** One of a few words, in whatever case, as OpenTelemetry takes them. */
const wordField = <const T extends string>(key: string, words: readonly T[], usual: NoInfer<T>): Field<T> => ({
  key,
  read: (text) => {
    const found = text === undefined ? usual : words.find((word) => word === text.trim().toLowerCase());
    if (found !== undefined) return found;
    throw new RangeError(`must be one of ${words.join(", ")}`);
  },
});

const ratioField = (key: string): Field<number> => ({
  key,
  read: (text) => {
    const ratio = text === undefined ? 1 : Number(text);
    if (ratio >= 0 && ratio <= 1) return ratio;
    throw new RangeError("must be a number from 0 to 1");
  },
});

// A sampler without a ratio has no argument: what stands there is for another one, and must not be in the way.
const readRatio = (env: Environment, fixed: number | undefined): number =>
  fixed ?? readConfig(env, { ratio: ratioField("OTEL_TRACES_SAMPLER_ARG") }).ratio;

const assertProtocol = (protocol: string): void => {
  if (protocol !== "http/json")
    throw new BuskerError(
      "invalid_request",
      `OTEL_EXPORTER_OTLP_PROTOCOL must be http/json, which is what is spoken here; got ${JSON.stringify(protocol)}`,
    );
};

// Nobody waits for a trace; a second is soon enough to look at it, and many calls go into one request.
const usualDelayMs = 1000;

const readProtocol = (env: Environment): string =>
  env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] || env["OTEL_EXPORTER_OTLP_PROTOCOL"] || "http/json";

/** Below a general endpoint, traces have a path of their own (OTLP, "Endpoint URLs for OTLP/HTTP"). */
const tracesUrl = (endpoint: URL): string => {
  const url = new URL(endpoint);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  return url.href;
};

/**
 * Reads what OpenTelemetry's standard variables say of traces; undefined when there is no endpoint, or they are turned off.
 * Throws `invalid_request` naming every variable that is wrong.
 */
export const readTracingConfig = (env: Environment): TracingConfig | undefined => {
  const { endpoint, own, disabled, exporter, sampler, delayMs } = readConfig(env, {
    endpoint: urlField("OTEL_EXPORTER_OTLP_ENDPOINT"),
    own: urlField("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    disabled: wordField("OTEL_SDK_DISABLED", ["true", "false"], "false"),
    exporter: wordField("OTEL_TRACES_EXPORTER", ["otlp", "none"], "otlp"),
    sampler: wordField("OTEL_TRACES_SAMPLER", samplerNames, "parentbased_always_on"),
    delayMs: integerField("OTEL_BSP_SCHEDULE_DELAY", { min: 1, max: 3_600_000 }, usualDelayMs),
  });
  const url = own?.href ?? (endpoint && tracesUrl(endpoint));
  if (url === undefined || disabled === "true" || exporter === "none") return undefined;
  assertProtocol(readProtocol(env));
  const { isParentBased, ratio } = samplers[sampler];
  return Object.freeze({ url, delayMs, sampling: { isParentBased, ratio: readRatio(env, ratio) } });
};
