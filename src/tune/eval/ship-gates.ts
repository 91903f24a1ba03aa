/**
 * The conditions under which tuned routers are worth shipping, each with its number. They judge figures that others made; what is
 * not measured is said to be open rather than passed.
 */
import { shippableCv } from "../gate-metrics.ts";
import type { CacheFigure, DriftFigures, LocalityFigures } from "./figures.ts";

export interface JudgedGate {
  readonly name: string;
  /** What it must be, in words. */
  readonly limit: string;
  /** What it is, in words. */
  readonly found: string;
  /** null: not measured. */
  readonly passed: boolean | null;
}

export interface JudgedVariant {
  readonly forced: LocalityFigures;
  readonly drift: DriftFigures;
  readonly generated: LocalityFigures | null;
}

const MOST_PERPLEXITY_CHANGE = 0.01;
const MOST_KL = 0.02;
/** Misses against those of cache-prior routing alone at the same KL. */
const LEAST_SAVING = 0.05;
const LEAST_EOR_CHANGE = 0.08;
/** Of an even share (arXiv 2608.18261). */
const LEAST_USE = 0.01;
const LEAST_DISTINCT = 0.9;

/**
 * @param cachePrior variants of the base with cache-prior routing alone
 * @param expertsPerLayer C of the deployment
 */
export function judgeGates(
  own: JudgedVariant,
  base: JudgedVariant,
  cachePrior: readonly JudgedVariant[],
  expertsPerLayer: number,
): JudgedGate[] {
  const { drift, forced, generated } = own;
  const change = drift.perplexityChange;
  const eor = generated?.eorChange ?? null;
  return [
    {
      name: "perplexity",
      limit: "at most +1 %",
      found: `${signed(change.value)}${interval(change.interval)}`,
      passed: change.value <= MOST_PERPLEXITY_CHANGE,
    },
    {
      name: "KL of the logits",
      limit: `at most ${MOST_KL} nats a token`,
      found: `${drift.meanKl.value.toPrecision(3)} (99 %: ${drift.p99Kl.toPrecision(3)})`,
      passed: drift.meanKl.value <= MOST_KL,
    },
    savingGate(own, base, cachePrior, expertsPerLayer),
    {
      name: "overlap of generated text",
      limit: "at least +8 % over the base",
      found: eor === null ? "nothing was generated" : `${signed(eor.value)}${interval(eor.interval)}`,
      passed: eor === null ? null : eor.value >= LEAST_EOR_CHANGE,
    },
    {
      name: "least used expert",
      limit: "at least 1 % of an even share, or no less than the base's",
      found: `${percent(forced.leastUse)} (base ${percent(base.forced.leastUse)})`,
      passed: forced.leastUse >= Math.min(LEAST_USE, base.forced.leastUse),
    },
    {
      name: "load CV",
      limit: "at most 0.5, or 10 % above the base's",
      found: `${forced.loadCv.toFixed(2)} (base ${base.forced.loadCv.toFixed(2)})`,
      passed: forced.loadCv <= shippableCv(base.forced),
    },
    {
      name: "experts used in 2,048 tokens",
      limit: "at least 90 % of the base's",
      found: `${forced.distinctExperts.toFixed(1)} (base ${base.forced.distinctExperts.toFixed(1)})`,
      passed: forced.distinctExperts >= LEAST_DISTINCT * base.forced.distinctExperts,
    },
    { name: "tasks", limit: "no task's lower bound under −2 points", found: "not measured here", passed: null },
  ];
}

/** Misses that cache-prior routing of the base has at a KL, between the points that were measured; null beyond them. */
export function missesOfCachePrior(
  kl: number,
  base: JudgedVariant,
  cachePrior: readonly JudgedVariant[],
  expertsPerLayer: number,
): number | null {
  const points = [base, ...cachePrior]
    .map((variant) => ({
      kl: variant === base ? 0 : variant.drift.meanKl.value,
      misses: missesAt(variant.forced, expertsPerLayer),
    }))
    .sort((a, b) => a.kl - b.kl);
  for (let i = 1; i < points.length; i++) {
    const [from, to] = [points[i - 1], points[i]];
    if (kl > to.kl || from.misses === undefined || to.misses === undefined) continue;
    const share = to.kl === from.kl ? 1 : (kl - from.kl) / (to.kl - from.kl);
    return from.misses + share * (to.misses - from.misses);
  }
  return null;
}

function savingGate(
  own: JudgedVariant,
  base: JudgedVariant,
  cachePrior: readonly JudgedVariant[],
  expertsPerLayer: number,
): JudgedGate {
  const gate = {
    name: `misses at ${expertsPerLayer} experts a layer`,
    limit: "5 % fewer than cache-prior routing alone at the same KL",
  };
  const misses = missesAt(own.forced, expertsPerLayer);
  const other = missesOfCachePrior(own.drift.meanKl.value, base, cachePrior, expertsPerLayer);
  if (misses === undefined || cachePrior.length === 0)
    return { ...gate, found: "cache-prior routing was not measured (--cache-bias)", passed: null };
  if (other === null) return { ...gate, found: "its KL is beyond the largest lambda that was measured", passed: null };
  return {
    ...gate,
    found: `${misses.toFixed(2)} against ${other.toFixed(2)} a token, ${signed(misses / other - 1)}`,
    passed: misses <= (1 - LEAST_SAVING) * other,
  };
}

/** Per token, of least-recently-used caches for each layer, looked up together: what the engine does. */
export function missesAt({ caches }: LocalityFigures, expertsPerLayer: number): number | undefined {
  return deploymentCell(caches, expertsPerLayer)?.missesPerToken.value;
}

export function deploymentCell(caches: readonly CacheFigure[], expertsPerLayer: number): CacheFigure | undefined {
  return caches.find(
    (cell) =>
      cell.scope === "layer" &&
      cell.policy === "lru" &&
      cell.accounting === "set" &&
      cell.expertsPerLayer === expertsPerLayer,
  );
}

function signed(share: number): string {
  return `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function interval(bounds: readonly [number, number] | null): string {
  return bounds === null ? "" : ` (${signed(bounds[0])} to ${signed(bounds[1])})`;
}
