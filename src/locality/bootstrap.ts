/**
 * Confidence intervals by resampling samples: the basic bootstrap, with Poisson weights, which need no list of samples and
 * so no memory that grows with the trace. A sample's weights depend on its number alone, not on who analyses it.
 */
import type { Interval } from "./report-data.ts";

export const CONFIDENCE = 0.95;

/** With fewer samples an interval would say more about luck than about the model. */
export const FEWEST_SAMPLES = 10;

/** Cumulative probabilities of 0, 1, 2, ... for a Poisson variable of mean 1, up to where doubles end. */
const POISSON = Array.from({ length: 18 }).reduce<number[]>((cumulative, _, n) => {
  cumulative.push((cumulative[n - 1] ?? 0) + Math.exp(-1) / factorial(n));
  return cumulative;
}, []);

function factorial(n: number): number {
  return n < 2 ? 1 : n * factorial(n - 1);
}

/** How often each replica drew the sample, into `weights`. */
export function drawWeights(weights: Uint8Array, sample: number): void {
  let state = Math.imul(sample + 1, 0x9e3779b1) | 0;
  for (let replica = 0; replica < weights.length; replica++) {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    const uniform = ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    let drawn = 0;
    while (drawn < POISSON.length - 1 && uniform >= POISSON[drawn]) drawn++;
    weights[replica] = drawn;
  }
}

/** The basic bootstrap interval of `value` from its replicas; null for too few. */
export function basicInterval(value: number, replicas: readonly number[]): Interval | null {
  const count = replicas.length;
  const cut = Math.round(((1 - CONFIDENCE) / 2) * count);
  if (cut < 1) return null;
  const sorted = [...replicas].sort((a, b) => a - b);
  return [2 * value - sorted[count - cut], 2 * value - sorted[cut]];
}
