import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** One span as a collector gets it. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: the trace begins with it. */
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  /** Of whom it is. */
  readonly resource: Readonly<Record<string, unknown>>;
}

/** A collector: OTLP over HTTP, as JSON. */
export interface TestCollector {
  readonly url: string;
  readonly spans: () => readonly CollectedSpan[];
  /** Headers of the requests. */
  readonly requests: () => readonly NodeJS.Dict<string | string[]>[];
  /** Resolves with the spans of a trace when it has all of these, by their names. */
  readonly trace: (traceId: string, names: readonly string[]) => Promise<readonly CollectedSpan[]>;
  readonly stop: () => Promise<void>;
}

interface KeyValue {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly (Omit<CollectedSpan, "attributes" | "resource"> & {
        readonly attributes: readonly KeyValue[];
      })[];
    }[];
  }[];
}

const toRecord = (pairs: readonly KeyValue[]): Record<string, unknown> =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, Object.values(value)[0]]));

const spansIn = ({ resourceSpans }: ExportRequest): CollectedSpan[] =>
  resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        attributes: toRecord(span.attributes),
        resource: toRecord(resource.attributes),
      })),
    ),
  );

const traceMs = 20_000;

/** Starts one on a free port, or on a given one. */
export const startCollector = async (port = 0): Promise<TestCollector> => {
  const spans: CollectedSpan[] = [];
  const requests: NodeJS.Dict<string | string[]>[] = [];
  const listeners = new Set<() => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      requests.push(request.headers);
      spans.push(...spansIn(JSON.parse(Buffer.concat(chunks).toString()) as ExportRequest));
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
      for (const listener of listeners) listener();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const ofTrace = (traceId: string): CollectedSpan[] => spans.filter((span) => span.traceId === traceId);
  const missing = (traceId: string, names: readonly string[]): string[] => {
    const left = ofTrace(traceId).map(({ name }) => name);
    return names.filter((name) => {
      const at = left.indexOf(name);
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: () => spans,
    requests: () => requests,
    trace: (traceId, names) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          listeners.delete(look);
          const has = ofTrace(traceId).map(({ name }) => name);
          reject(new Error(`trace ${traceId} lacks ${missing(traceId, names).join(", ")}; it has ${has.join(", ")}`));
        }, traceMs);
        const look = (): void => {
          if (missing(traceId, names).length > 0) return;
          clearTimeout(timer);
          listeners.delete(look);
          resolve(ofTrace(traceId));
        };
        listeners.add(look);
        look();
      }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
