/**
 * A run as a line of the result: times by prompt with intervals, hits, predictions, bytes, search, and the floor beside it. The
 * same for measured and simulated runs. Other programs read it: names and units stay.
 */
import { hitRate } from "../../cache/statistics.ts";
import { quantile } from "../quantile.ts";
import { type Estimate, medianEstimate, pairedRatio } from "./estimate.ts";
import { decodeCounters, type Mode, type RequestFigures, type RunFigures, type Source, tpotMs } from "./figures.ts";

/** Times in ms. Figures of experts are of decode steps; a share is 0..1; null where the run does not tell. */
export interface FinemoeRow {
  readonly source: Source;
  readonly mode: Mode;
  readonly policy: string;
  /** Of all routed experts' bytes. */
  readonly cacheShare: number;
  readonly cacheBytes: number;
  readonly requests: number;
  readonly decodeTokens: number;
  /** The policy learns, so that offline and online differ. Else its offline row is its online row. */
  readonly learns: boolean;
  /** Of the prompt's forward passes: median over prompts. */
  readonly ttftMs: Estimate;
  /** (t_last - t_first) / (n - 1) of a request: median over prompts. */
  readonly tpotMs: Estimate;
  /** Of single tokens, all requests together. */
  readonly tokenMs: { readonly mean: number; readonly p50: number; readonly p95: number; readonly p99: number };
  /** Complete in memory when the router chose it; on its way; absent. Together 1. */
  readonly hitRate: number;
  readonly lateHitRate: number;
  readonly missRate: number;
  /** |routed and predicted| / |routed|, resident or not, as the policy counts it: the paper's "hit rate". */
  readonly coverage: number | null;
  /** Of the look-ups that would have missed without reading ahead, the share that speculative reads brought. */
  readonly readAheadCoverage: number;
  /** Of the same look-ups, those that speculative reads brought in time (ProMoE's accuracy times fetch rate). */
  readonly goodPred: number;
  /** Speculative reads that a router chose, of those that were issued. */
  readonly readAheadAccuracy: number | null;
  readonly bytesPerToken: { readonly demanded: number; readonly speculated: number; readonly wasted: number };
  /** Bytes read over those of the plain LRU in the same cell. */
  readonly bytesOverLru: number | null;
  readonly search: {
    readonly p50Us: number | null;
    readonly p99Us: number | null;
    /** Searches given up or too late to be of use. */
    readonly dropped: number | null;
  };
  readonly storeBytes: number | null;
  readonly stallMs: number;
  readonly computeMs: number;
  /** Inside the policy's own code, per decode step; measured runs only. */
  readonly policyMs: number | null;
  /** (demand miss bytes of a token / the drive's speed) / computing of a token. Far above 1 the drive decides. */
  readonly rho: number;
  /** Keeping nothing and predicting nothing, on the same requests. */
  readonly floor: { readonly tpotMs: number | null; readonly bytesPerToken: number | null };
  /** Decode time over that of the plain LRU, prompt by prompt. */
  readonly timeOverLru: Estimate | null;
  /** What the policy counted of its own mechanisms: the proof that each fired. */
  readonly mechanisms: Readonly<Record<string, number>>;
  /** What the simulator says of a measured run's own requests: TPOT, median over prompts. */
  readonly simulatedTpotMs?: number;
  /** By request, in order. For comparisons of rows prompt by prompt. */
  readonly byRequest: { readonly ttftMs: readonly number[]; readonly tpotMs: readonly number[] };
}

/** What a row is read against: the runs of the same cell. */
export interface CellReferences {
  readonly expertBytesTotal: number;
  readonly floor: RunFigures | undefined;
  readonly lru: RunFigures | undefined;
}

export function rowOf(run: RunFigures, { expertBytesTotal, floor, lru }: CellReferences): FinemoeRow {
  const { requests, mechanisms } = run;
  const decode = decodeCounters(requests);
  const tokens = decodeTokens(requests);
  const steps = requests.flatMap(({ stepMs }) => stepMs);
  const lookUps = Math.max(1, decode.hits + decode.lateHits + decode.misses);
  const absent = Math.max(1, decode.prefetchesUsed + decode.misses);
  const inTime = Math.max(0, decode.prefetchesUsed - decode.lateHits);
  const perStep = (ms: number) => ms / Math.max(1, steps.length);
  const computeMs = perStep(requests.reduce((sum, request) => sum + request.computeMs, 0));
  const demanded = decode.bytesDemanded / tokens;
  const lruBytes = lru === undefined ? undefined : readBytes(lru);
  const stepsPerToken = steps.length / tokens;
  return {
    ...{ source: run.source, mode: run.mode, policy: run.policy, cacheBytes: run.cacheBytes, learns: run.learns },
    cacheShare: run.cacheBytes / expertBytesTotal,
    requests: requests.length,
    decodeTokens: tokens,
    ttftMs: medianEstimate(requests.map(({ ttftMs }) => ttftMs)),
    tpotMs: medianEstimate(requests.map(tpotMs)),
    tokenMs: {
      mean: steps.reduce((sum, ms) => sum + ms, 0) / steps.length,
      ...{ p50: quantile(steps, 0.5), p95: quantile(steps, 0.95), p99: quantile(steps, 0.99) },
    },
    hitRate: hitRate(decode),
    lateHitRate: decode.lateHits / lookUps,
    missRate: decode.misses / lookUps,
    coverage: coverageOf(mechanisms, lookUps),
    readAheadCoverage: decode.prefetchesUsed / absent,
    goodPred: inTime / absent,
    readAheadAccuracy: decode.prefetchesIssued === 0 ? null : decode.prefetchesUsed / decode.prefetchesIssued,
    bytesPerToken: {
      ...{ demanded, speculated: decode.bytesPrefetched / tokens },
      wasted: (decode.bytesWasted + decode.bytesCancelled) / tokens,
    },
    bytesOverLru: lruBytes === undefined || lruBytes === 0 ? null : readBytes(run) / lruBytes,
    search: {
      p50Us: mechanisms.searchP50Us ?? null,
      p99Us: mechanisms.searchP99Us ?? null,
      dropped: droppedOf(mechanisms),
    },
    storeBytes: mechanisms.storeBytes ?? mechanisms.predictorBytes ?? null,
    stallMs: perStep(requests.reduce((sum, request) => sum + request.stallMs, 0)),
    computeMs,
    policyMs: run.policyMs,
    rho: ((1000 * demanded) / run.driveBytesPerSecond / (computeMs * stepsPerToken)) as number,
    floor: {
      tpotMs: floor === undefined ? null : quantile(floor.requests.map(tpotMs), 0.5),
      bytesPerToken: floor === undefined ? null : readBytes(floor) / decodeTokens(floor.requests),
    },
    timeOverLru: lru === undefined ? null : pairedRatio(run.requests.map(tpotMs), lru.requests.map(tpotMs)),
    mechanisms,
    byRequest: {
      ttftMs: requests.map(({ ttftMs }) => rounded(ttftMs)),
      tpotMs: requests.map((request) => rounded(tpotMs(request))),
    },
  };
}

/** Share of routed experts that the policy had predicted, by its own counts: a layer without a prediction has none. */
function coverageOf(mechanisms: Readonly<Record<string, number>>, lookUps: number): number | null {
  const { forecastUsesSelected, rightExperts, chosenExperts = 0 } = mechanisms;
  if (forecastUsesSelected !== undefined) return Math.min(1, forecastUsesSelected / lookUps);
  // It may have predicted in prompts too, which then are among its counts.
  return rightExperts === undefined ? null : rightExperts / Math.max(lookUps, chosenExperts);
}

/** Searches given up, out of date before they began, or done too late. */
function droppedOf({
  contextsDropped,
  contextsStale = 0,
  forecastsDropped = 0,
  forecastsTooLate = 0,
}: Readonly<Record<string, number>>): number | null {
  return contextsDropped === undefined ? null : contextsDropped + contextsStale + forecastsDropped + forecastsTooLate;
}

function readBytes({ requests }: RunFigures): number {
  const { bytesDemanded, bytesPrefetched } = decodeCounters(requests);
  return bytesDemanded + bytesPrefetched;
}

function decodeTokens(requests: readonly RequestFigures[]): number {
  return requests.reduce((sum, request) => sum + request.decodeTokens, 0);
}

function rounded(ms: number): number {
  return Math.round(1000 * ms) / 1000;
}
