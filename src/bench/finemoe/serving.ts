/**
 * Requests that arrive while others are served: one at a time, first come first served, as one model on one machine does. From the
 * times that requests took on their own; a policy has no idle time between them to read ahead in.
 */
import { poissonArrivals } from "../../workload/arrivals.ts";
import { quantile } from "../quantile.ts";
import type { RunFigures } from "./figures.ts";

export interface ServingFigures {
  readonly policy: string;
  readonly requestsPerSecond: number;
  readonly requests: number;
  /** Time served over time passed until the last arrival: above 1 the queue grows without end. */
  readonly load: number;
  /** From arrival to the last token, ms. */
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number };
  /** From arrival to the first token, ms. */
  readonly firstTokenMs: { readonly p50: number; readonly p90: number; readonly p99: number };
  /** Latencies at 0, 5, ..., 100 %, ms. */
  readonly cdfMs: readonly number[];
}

export function serve({ policy, requests }: RunFigures, requestsPerSecond: number): ServingFigures {
  const arrivals = poissonArrivals({ requests: requests.length, perSecond: requestsPerSecond });
  const latencies: number[] = [];
  const firstTokens: number[] = [];
  let freeAt = 0;
  let servedMs = 0;
  for (const [i, { ttftMs, stepMs }] of requests.entries()) {
    const tookMs = stepMs.reduce((sum, ms) => sum + ms, ttftMs);
    const startMs = Math.max(freeAt, arrivals[i].arrivalMs);
    freeAt = startMs + tookMs;
    servedMs += tookMs;
    latencies.push(freeAt - arrivals[i].arrivalMs);
    firstTokens.push(startMs + ttftMs - arrivals[i].arrivalMs);
  }
  return {
    ...{ policy, requestsPerSecond, requests: requests.length },
    load: servedMs / (arrivals.at(-1)?.arrivalMs ?? Number.NaN),
    latencyMs: tail(latencies),
    firstTokenMs: tail(firstTokens),
    cdfMs: Array.from({ length: 21 }, (_, i) => Math.round(quantile(latencies, i / 20))),
  };
}

/** Requests a second that keep the machine busy for this share of the time. */
export function rateForLoad({ requests }: RunFigures, load: number): number {
  const tookMs = requests.reduce((sum, { ttftMs, stepMs }) => stepMs.reduce((s, ms) => s + ms, sum + ttftMs), 0);
  return (1000 * load * requests.length) / tookMs;
}

function tail(values: readonly number[]) {
  return { p50: quantile(values, 0.5), p90: quantile(values, 0.9), p99: quantile(values, 0.99) };
}
