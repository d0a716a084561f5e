import { emptyHistogram, observe, type OpenHistogram } from "../../schemas/histogram.ts";
import type { Line } from "../runtime/metrics.ts";

/** Requests to the platform's own API that this gateway has answered. */
export interface ApiRequests {
  readonly answered: (request: ApiRequest, seconds: number) => void;
  /** How long they took, by method, path and status. */
  readonly lines: () => readonly (Line & { readonly value: OpenHistogram })[];
}

/** What tells kinds of requests apart. */
export interface ApiRequest {
  readonly method: string;
  /** As the route is written, `/system/function/:name`: what a client asks for would be a series each. */
  readonly path: string;
  readonly status: number;
}

const methods: ReadonlySet<string> = new Set(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]);

/** Counts from now on. */
export const createApiRequests = (): ApiRequests => {
  const all = new Map<string, Line & { readonly value: OpenHistogram }>();
  return {
    answered: ({ method, path, status }, seconds) => {
      const labels = { method: methods.has(method) ? method : "other", path, status: String(status) };
      const key = Object.values(labels).join(" ");
      const line = all.get(key) ?? { labels, value: emptyHistogram() };
      all.set(key, line);
      observe(line.value, seconds);
    },
    lines: () => [...all.values()],
  };
};
