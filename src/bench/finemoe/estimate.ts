/**
 * Medians by prompt and how far another draw of prompts would move them: percentile bootstrap over requests, seeded, so that
 * the same figures always give the same interval. Ratios of two policies are paired: each prompt is held against itself.
 */
import { Randomness } from "../../predict/randomness.ts";
import { quantile } from "../quantile.ts";

export interface Estimate {
  readonly value: number;
  /** Ends of the 95 % interval; equal to `value` with one request. */
  readonly low: number;
  readonly high: number;
}

const REPLICAS = 400;
const SEED = 20_260_427;

/** Of the values, one a request. */
export function medianEstimate(values: readonly number[]): Estimate {
  return bootstrap(values.length, (drawn) =>
    quantile(
      drawn.map((i) => values[i]),
      0.5,
    ),
  );
}

/** Sum over sum of the same requests, so that long ones count as much as they take. */
export function pairedRatio(values: readonly number[], against: readonly number[]): Estimate {
  return bootstrap(values.length, (drawn) => sumOf(drawn, values) / sumOf(drawn, against));
}

/** `of` takes indices of requests, each as often as it was drawn. */
export function bootstrap(requests: number, of: (drawn: readonly number[]) => number): Estimate {
  const all = Array.from({ length: requests }, (_, i) => i);
  const value = of(all);
  const random = Randomness.from(SEED);
  const replicas: number[] = [];
  for (let replica = 0; replica < REPLICAS; replica++)
    replicas.push(of(all.map(() => Math.floor(random.next() * requests))));
  return { value, low: quantile(replicas, 0.025), high: quantile(replicas, 0.975) };
}

function sumOf(drawn: readonly number[], values: readonly number[]): number {
  return drawn.reduce((sum, i) => sum + values[i], 0);
}
