/**
 * Figures with confidence intervals from rows of sums: the figure of all documents, and of the same documents drawn again with
 * weights that are the same for every variant, so that differences to the base are paired. Pure arithmetic.
 */
import { basicInterval, drawWeights, FEWEST_SAMPLES } from "../../locality/bootstrap.ts";

const REPLICAS = 400;

export interface Measured {
  readonly value: number;
  /** 95 %, by document; null for fewer than ten, or where it has no meaning. */
  readonly interval: readonly [number, number] | null;
}

/** Sums over documents: of all of them, and of each draw. */
export interface Totals {
  readonly all: Float64Array;
  /** Empty when there are too few documents. */
  readonly draws: readonly Float64Array[];
}

/** @param rows one for each document, in the same order for every variant */
export function totalsOf(rows: readonly Float64Array[], width: number): Totals {
  const all = new Float64Array(width);
  const enough = rows.length >= FEWEST_SAMPLES;
  const draws = Array.from({ length: enough ? REPLICAS : 0 }, () => new Float64Array(width));
  const weights = new Uint8Array(draws.length);
  for (const [document, row] of rows.entries()) {
    drawWeights(weights, document);
    for (let i = 0; i < width; i++) all[i] += row[i];
    for (const [draw, sums] of draws.entries()) {
      const weight = weights[draw];
      if (weight > 0) for (let i = 0; i < width; i++) sums[i] += weight * row[i];
    }
  }
  return { all, draws };
}

/** A figure of the sums. */
export function measure(totals: Totals, figure: (sums: Float64Array) => number): Measured {
  return withInterval(figure(totals.all), totals.draws.map(figure));
}

/** A figure of two variants' sums on the same documents, such as a ratio. */
export function compare(
  own: Totals,
  base: Totals,
  figure: (own: Float64Array, base: Float64Array) => number,
): Measured {
  return withInterval(
    figure(own.all, base.all),
    own.draws.map((sums, draw) => figure(sums, base.draws[draw])),
  );
}

function withInterval(value: number, replicas: readonly number[]): Measured {
  const known = replicas.every(Number.isFinite);
  return { value, interval: known && Number.isFinite(value) ? basicInterval(value, replicas) : null };
}
