/**
 * What one run of one policy came to, request by request, whether it was measured on the engine or simulated: the one shape
 * that rows, targets and reports are made from. Types and sums only.
 */
import { type CacheCounters, emptyCounters } from "../../cache/statistics.ts";

/**
 * What a policy knows when a run begins. "offline": what it learned from other prompts before; "online": nothing. The
 * prompts of the run are the same, and none of them was ever learned from.
 */
export type Mode = "offline" | "online";

/** "simulated": recorded routing replayed in virtual time; "measured": the engine ran on the same tokens. */
export type Source = "simulated" | "measured";

/** A prompt and the tokens behind it. */
export interface RequestFigures {
  readonly request: number;
  readonly domain: string;
  /** Forward passes of the prompt, ms. */
  readonly ttftMs: number;
  /** Of each decode step, ms. */
  readonly stepMs: readonly number[];
  /** Tokens of those steps: one a step, or as many as sequences are decoded together. */
  readonly decodeTokens: number;
  /** Sums over the decode steps, ms. */
  readonly computeMs: number;
  readonly stallMs: number;
  readonly prefill: CacheCounters;
  readonly decode: CacheCounters;
}

export interface RunFigures {
  readonly source: Source;
  readonly mode: Mode;
  readonly policy: string;
  readonly cacheBytes: number;
  readonly requests: readonly RequestFigures[];
  /** Bytes of speculative reads that nobody had used at the end. */
  readonly bytesUnused: number;
  /** What the policy counted of its own mechanisms. */
  readonly mechanisms: Readonly<Record<string, number>>;
  /** It had something learned, or learns on: only then offline and online differ. */
  readonly learns: boolean;
  /** Best speed of the drive, bytes per second. */
  readonly driveBytesPerSecond: number;
  /** Inside the policy's own code, ms per decode step; null where that was not measured. */
  readonly policyMs: number | null;
}

/** `to - from`, counter by counter. */
export function countedSince(from: Readonly<CacheCounters>, to: Readonly<CacheCounters>): CacheCounters {
  const counted = emptyCounters();
  for (const name of Object.keys(counted) as (keyof CacheCounters)[]) counted[name] = to[name] - from[name];
  return counted;
}

/** Over all requests. */
export function decodeCounters(requests: readonly RequestFigures[]): CacheCounters {
  const sum = emptyCounters();
  for (const { decode } of requests)
    for (const name of Object.keys(sum) as (keyof CacheCounters)[]) sum[name] += decode[name];
  return sum;
}

/** Mean time of a token behind the first: (t_last - t_first) / (n - 1). */
export function tpotMs({ stepMs }: RequestFigures): number {
  return stepMs.reduce((sum, ms) => sum + ms, 0) / stepMs.length;
}
