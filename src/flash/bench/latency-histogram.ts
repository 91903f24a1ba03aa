/** Times by their logarithm: quantiles of any number of calls within 2 %, in 8 KiB. */
import type { LatencyUs } from "./results.ts";

const STEPS_PER_DOUBLING = 32;
/** From 2^-6 us (16 ns) to 2^26 us (67 s). */
const LEAST_LOG = -6;
const BUCKETS = 32 * STEPS_PER_DOUBLING;

export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(us: number): void {
    const bucket = Math.floor((Math.log2(us) - LEAST_LOG) * STEPS_PER_DOUBLING);
    this.#counts[Math.min(BUCKETS - 1, Math.max(0, bucket))]++;
    this.#count++;
  }

  /** The middle of the bucket in which the call lies that a share `q` of the calls is not slower than; NaN of nothing. */
  quantile(q: number): number {
    if (this.#count === 0) return Number.NaN;
    let left = Math.max(1, Math.ceil(q * this.#count));
    let bucket = 0;
    while (left > this.#counts[bucket]) left -= this.#counts[bucket++];
    return 2 ** (LEAST_LOG + (bucket + 0.5) / STEPS_PER_DOUBLING);
  }

  summary(): LatencyUs {
    return { p50: this.quantile(0.5), p99: this.quantile(0.99), p9999: this.quantile(0.9999) };
  }
}
