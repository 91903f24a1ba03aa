/** From measured passes to the figures that the simulator computes with. Pure arithmetic; nothing is measured here. */
import type { ModelShape } from "../cache/shape.ts";
import {
  type ComputeModel,
  computeMsOf,
  type EngineCost,
  type LayerCost,
  scaledCompute,
} from "../simulate/compute-model.ts";
import { type DiskModel, DrainCurve } from "../simulate/disk-model.ts";
import type { PassTimes } from "./stream-stopwatch.ts";

/** Share that is dropped on either side before a mean is taken: what else the machine did. */
const TRIMMED = 0.1;
/** Without prompts, and until measured otherwise: see `SHARED_BY_BATCH` of `compute-model.ts`. */
const UNKNOWN_SHARE_PER_TOKEN = 0.5;

export interface EngineSamples {
  /** Passes that stopped after every product, and passes that stopped only where it was needed. */
  readonly stopping: readonly PassTimes[];
  readonly running: readonly PassTimes[];
  /** Requests of one expert, by layer. */
  readonly requestsOfExpert: readonly number[];
}

export interface EngineFit {
  /** Of it, what a stop costs outside of our own code; part of the measured times of computing. */
  readonly graphStopMs: number;
  readonly cost: EngineCost;
}

export function fitEngine({ stopping, running, requestsOfExpert }: EngineSamples): EngineFit {
  const stops = (passes: readonly PassTimes[]) => trimmedMean(passes.map((pass) => pass.stops));
  const computing = (passes: readonly PassTimes[]) => trimmedMean(passes.map((pass) => pass.computeMs));
  const moreStops = stops(stopping) - stops(running);
  const difference = moreStops > 0 ? (computing(stopping) - computing(running)) / moreStops : 0;
  // Every measured piece has one stop in it.
  const shortest = Math.min(...stopping.flatMap(({ productMs }) => [...productMs]));
  const graphStopMs = Math.min(Math.max(0, difference), shortest);
  const handovers: (readonly [number, number])[] = [];
  const quiet: number[] = [];
  for (const { misses, managementMs } of [...stopping, ...running])
    for (const [layer, ms] of managementMs.entries())
      if (misses[layer] > 0) handovers.push([misses[layer] * requestsOfExpert[layer], ms]);
      else quiet.push(ms);
  const decisionMs = quiet.length === 0 ? 0 : middle(quiet);
  const { slope, intercept } = handovers.length === 0 ? NO_LINE : line(handovers);
  const routers = running[0].managementMs.length;
  return {
    graphStopMs,
    cost: {
      // Our own part comes at routers only.
      msPerStop: graphStopMs + (decisionMs * routers) / stops(running),
      msPerHandover: Math.max(0, intercept - decisionMs),
      msPerRequest: slope,
    },
  };
}

/** Reads of one layer that were waited for: from handing them over until products could start. */
export interface ReadWait {
  readonly requests: number;
  /** Until the first product's weights were there, and until the last one's; 0 when nobody had to wait for them. */
  readonly firstReadyMs: number;
  readonly lastReadyMs: number;
}

export function readWaits(passes: readonly PassTimes[], requestsOfExpert: readonly number[]): ReadWait[] {
  return passes.flatMap(({ misses, firstReadyMs, lastReadyMs }) =>
    [...misses].flatMap((count, layer) =>
      firstReadyMs[layer] === 0
        ? []
        : [
            {
              requests: count * requestsOfExpert[layer],
              firstReadyMs: firstReadyMs[layer],
              lastReadyMs: lastReadyMs[layer],
            },
          ],
    ),
  );
}

/**
 * The drive as the engine got it: as slow or fast as its reads were, and telling of them as it did. A drive of a virtual
 * machine serves places that were read a while ago faster than others, and a probe reads other places and into other
 * pages. Unchanged when too little was waited for.
 */
export function fitDrive(probed: DiskModel, waits: readonly ReadWait[], stages: number, cost: EngineCost): DiskModel {
  const both = waits.filter(({ lastReadyMs }) => lastReadyMs > 0);
  const reportsEvery = both.length < FEWEST_WAITS ? probed.reportsEvery : fitReports(both, stages);
  const curve = new DrainCurve(probed);
  const factors = waits.flatMap(({ requests, firstReadyMs, lastReadyMs }) => {
    // Told of all together, so that the first weights came with the last ones.
    const ms = lastReadyMs > 0 ? lastReadyMs : requests <= reportsEvery ? firstReadyMs : 0;
    return ms > cost.msPerHandover ? [(ms - cost.msPerHandover) / curve.ms(requests)] : [];
  });
  const factor = factors.length < FEWEST_WAITS ? 1 : trimmedMean(factors);
  const bursts = probed.bursts.map(({ requests, ms }) => ({ requests, ms: ms * factor }));
  return { ...probed, bursts, reportsEvery };
}

/** How many finished requests the drive tells of together, from when the first product's weights were there. */
function fitReports(waits: readonly ReadWait[], stages: number): number {
  const error = (every: number) =>
    trimmedMean(
      waits.map(({ requests, firstReadyMs, lastReadyMs }) => {
        const told = Math.min(requests, Math.ceil(requests / stages / every) * every);
        return Math.abs(told / requests - firstReadyMs / lastReadyMs);
      }),
    );
  return REPORT_SIZES.reduce((best, every) => (error(every) < error(best) ? every : best));
}

/** Fewer say nothing. */
const FEWEST_WAITS = 10;
const REPORT_SIZES = [1, 8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256];

const NO_LINE = { slope: 0, intercept: 0 };

export interface ComputeSamples {
  readonly shape: ModelShape;
  readonly stages: number;
  /** Decode steps that stopped after every product. */
  readonly decode: readonly PassTimes[];
  /** Prompts of one micro-batch that did; may be empty. */
  readonly prompts: readonly PassTimes[];
  readonly graphStopMs: number;
  /** What a decode step computes in all, without stops: the pieces are brought to this sum. */
  readonly msPerToken: number;
}

export function fitCompute(samples: ComputeSamples): ComputeModel {
  const { shape, stages, decode, prompts, graphStopMs, msPerToken } = samples;
  const piece = (passes: readonly PassTimes[], of: (pass: PassTimes) => number) =>
    Math.max(0, middle(passes.map(of)) - graphStopMs);
  const layers = Array.from({ length: shape.layers }, (_, layer) => layer);
  const products = layers.map((layer) =>
    Array.from({ length: stages }, (_, stage) => piece(decode, (pass) => pass.productMs[layer * stages + stage])),
  );
  const measured = layers.map((layer) => piece(decode, (pass) => pass.beforeRouterMs[layer]));
  // The first one has the start of the pass in it.
  const others = measured.slice(1);
  const first = others.length === 0 ? measured[0] / 2 : Math.min(measured[0], trimmedMean(others));
  const before = [first, ...others];
  const outside = measured[0] - first + piece(decode, ({ afterMs }) => afterMs);

  const share =
    prompts.length === 0 ? undefined : prompts.map((prompt) => promptShares(prompt, before, products, samples));
  const perToken = (of: "before" | "products") =>
    share === undefined ? UNKNOWN_SHARE_PER_TOKEN : trimmedMean(share.map((shares) => shares[of]));
  const beforeShare = perToken("before");
  const productShare = perToken("products");
  const batch = (ms: number) => ({ ms: ms * (1 - beforeShare), msPerToken: ms * beforeShare });
  const model: ComputeModel = {
    // Of a prompt only the last token's output is wanted, as of a decode step.
    outside: { ms: outside, msPerToken: 0 },
    layers: layers.map(
      (layer): LayerCost => ({
        beforeRouter: batch(before[layer]),
        products: products[layer].map((ms) => ({
          msPerExpert: (ms * (1 - productShare)) / shape.expertsUsed,
          msPerUse: (ms * productShare) / shape.expertsUsed,
        })),
      }),
    ),
  };
  return scaledCompute(model, msPerToken / computeMsOf(model, shape, 1));
}

/**
 * Of a decode step's time the share that every further token of a prompt costs again. A prompt of n tokens with D distinct
 * experts of k a token takes D/k times the shared part of a step's products, and n times the rest.
 */
function promptShares(
  prompt: PassTimes,
  before: readonly number[],
  products: readonly (readonly number[])[],
  { shape: { expertsUsed }, graphStopMs }: Pick<ComputeSamples, "shape" | "graphStopMs">,
): { readonly before: number; readonly products: number } {
  const { tokens, distinct, productMs, beforeRouterMs } = prompt;
  const stages = products[0].length;
  let stepProducts = 0;
  let onceProducts = 0;
  let promptProducts = 0;
  let stepBefore = 0;
  let promptBefore = 0;
  // Neither the first layer (the start of the pass is in it) nor the last (it runs wanted outputs only).
  for (let layer = 1; layer < before.length - 1; layer++) {
    const step = products[layer].reduce((sum, ms) => sum + ms, 0);
    stepProducts += step;
    onceProducts += (step * distinct[layer]) / expertsUsed;
    for (let stage = 0; stage < stages; stage++) promptProducts += productMs[layer * stages + stage] - graphStopMs;
    stepBefore += before[layer];
    promptBefore += beforeRouterMs[layer] - graphStopMs;
  }
  return {
    before: shareOf(promptBefore - stepBefore, (tokens - 1) * stepBefore),
    products: shareOf(promptProducts - onceProducts, tokens * stepProducts - onceProducts),
  };
}

function shareOf(part: number, whole: number): number {
  return whole > 0 ? Math.min(1, Math.max(0, part / whole)) : UNKNOWN_SHARE_PER_TOKEN;
}

/** Least squares without the points that lie furthest off, neither figure below 0. */
function line(points: readonly (readonly [number, number])[]): { slope: number; intercept: number } {
  const rough = leastSquares(points);
  const off = ([x, y]: readonly [number, number]) => Math.abs(y - rough.intercept - rough.slope * x);
  const sorted = [...points].sort((a, b) => off(a) - off(b));
  return leastSquares(sorted.slice(0, Math.ceil(sorted.length * (1 - TRIMMED))));
}

function leastSquares(points: readonly (readonly [number, number])[]): { slope: number; intercept: number } {
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const together = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  if (meanX === 0) return { slope: 0, intercept: meanY };
  const slope = spread === 0 ? 0 : Math.max(0, together / spread);
  // Reads without a fixed cost, when the fitted one would be negative.
  return slope * meanX > meanY ? { slope: meanY / meanX, intercept: 0 } : { slope, intercept: meanY - slope * meanX };
}

/** Half of the values lie within this share of the middle one. */
export function spreadOf(values: readonly number[]): number {
  const centre = middle(values);
  return middle(values.map((value) => Math.abs(value - centre))) / centre;
}

export function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Mean of what is left without the smallest and the largest tenth. */
export function trimmedMean(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const dropped = Math.floor(sorted.length * TRIMMED);
  return mean(sorted.slice(dropped, sorted.length - dropped));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
