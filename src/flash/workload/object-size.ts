/**
 * Sizes of keys, values and objects: distributions named by the figures that papers print, and a table of each that gives a size
 * for a key's hash. A table has 8,192 entries at equal shares of the distribution: 16 KiB stay in a core's cache, and its mean is
 * the mean asked for, not a draw around it.
 */
import { FlashError } from "../errors.ts";

export type SizeModel =
  | { readonly kind: "fixed"; readonly bytes: number }
  /** Whole numbers, both ends included. */
  | { readonly kind: "uniform"; readonly min: number; readonly max: number }
  /** `mean` holds after sizes were cut to `min` and `max`; `sigma` is that of the logarithm. */
  | ({ readonly kind: "log-normal"; readonly mean: number; readonly sigma: number } & Cut)
  /** Straight lines between points of (share of objects up to this size, bytes), stretched to `mean`. Shares go from 0 to 1. */
  | ({
      readonly kind: "quantiles";
      readonly points: readonly (readonly [number, number])[];
      readonly mean: number;
    } & Cut)
  /** Generalised extreme value, as ETC's keys (Atikoglu et al., SIGMETRICS'12, table 5). Shape not 0. */
  | ({ readonly kind: "extreme-value" } & LocationScaleShape & Cut)
  /** Generalised Pareto, as ETC's values (the same). Shape not 0. */
  | ({ readonly kind: "pareto" } & LocationScaleShape & Cut);

interface Cut {
  readonly min: number;
  readonly max: number;
}

interface LocationScaleShape {
  readonly location: number;
  readonly scale: number;
  readonly shape: number;
}

const TABLE_BITS = 13;
const TABLE_SIZE = 2 ** TABLE_BITS;

export class SizeTable {
  readonly mean: number;
  readonly #bytes: Uint16Array;

  /** @throws FlashError `bad-options`: sizes that are none, or beyond 65,535 */
  constructor(model: SizeModel) {
    this.#bytes = tableOf(model);
    this.mean = meanOf(this.#bytes);
  }

  /** @param hash 32 bits; the upper 13 count */
  ofUpper(hash: number): number {
    return this.#bytes[hash >>> (32 - TABLE_BITS)];
  }

  /** @param hash 32 bits; the lower 13 count */
  ofLower(hash: number): number {
    return this.#bytes[hash & (TABLE_SIZE - 1)];
  }
}

function tableOf(model: SizeModel): Uint16Array {
  const { min, max } = model.kind === "fixed" ? { min: model.bytes, max: model.bytes } : model;
  if (!(Number.isInteger(min) && Number.isInteger(max) && min >= 0 && max >= min && max <= 0xffff))
    throw new FlashError("bad-options", `Sizes must be whole numbers from 0 to 65,535, not ${min} to ${max}.`);
  switch (model.kind) {
    case "fixed":
      return new Uint16Array(TABLE_SIZE).fill(model.bytes);
    case "uniform":
      return fill((share) => Math.floor(min + share * (max - min + 1)));
    case "log-normal":
      return withMean(
        model,
        normalQuantiles().map((deviations) => Math.exp(model.sigma * deviations)),
      );
    case "quantiles":
      return withMean(
        model,
        Float64Array.from({ length: TABLE_SIZE }, (_, i) => between(model.points, shareOf(i))),
      );
    case "extreme-value": {
      const { location, scale, shape } = model;
      return fill((share) => cut(model, location + (scale * ((-Math.log(share)) ** -shape - 1)) / shape));
    }
    case "pareto": {
      const { location, scale, shape } = model;
      return fill((share) => cut(model, location + (scale * ((1 - share) ** -shape - 1)) / shape));
    }
    default:
      return model satisfies never;
  }
}

function shareOf(i: number): number {
  return (i + 0.5) / TABLE_SIZE;
}

function fill(bytesAt: (share: number) => number): Uint16Array {
  return Uint16Array.from({ length: TABLE_SIZE }, (_, i) => bytesAt(shareOf(i)));
}

function cut({ min, max }: Cut, bytes: number): number {
  return Math.max(min, Math.min(max, Math.round(bytes)));
}

/** Multiplies the sizes by the factor with which they have the mean once they are cut. @throws FlashError `bad-options` */
function withMean(model: Cut & { readonly mean: number }, sizes: Float64Array): Uint16Array {
  const { mean, min, max } = model;
  if (!(mean >= min && mean <= max))
    throw new FlashError("bad-options", `A mean of ${mean} bytes is not between the sizes allowed, ${min} and ${max}.`);
  const times = (factor: number) => Uint16Array.from(sizes, (bytes) => cut(model, factor * bytes));
  let low = 1e-6;
  let high = 1e9;
  // The mean grows with the factor; 50 halvings of its logarithm are more digits than sizes have.
  for (let i = 0; i < 50; i++) {
    const factor = Math.sqrt(low * high);
    let sum = 0;
    for (const bytes of sizes) sum += cut(model, factor * bytes);
    if (sum < mean * sizes.length) low = factor;
    else high = factor;
  }
  const [below, above] = [times(low), times(high)];
  return mean - meanOf(below) < meanOf(above) - mean ? below : above;
}

function between(points: readonly (readonly [number, number])[], share: number): number {
  const next = points.findIndex(([upTo]) => upTo >= share);
  const [fromShare, from] = points[next - 1];
  const [toShare, to] = points[next];
  return from + ((share - fromShare) / (toShare - fromShare)) * (to - from);
}

function meanOf(table: Uint16Array): number {
  let sum = 0;
  for (const bytes of table) sum += bytes;
  return sum / table.length;
}

/** Where the normal distribution reaches each entry's share: its density, summed in steps of 1/4,096. */
function normalQuantiles(): Float64Array {
  const quantiles = new Float64Array(TABLE_SIZE);
  const step = 2 ** -12;
  let share = 0;
  let i = 0;
  for (let x = -8; i < TABLE_SIZE && x < 8; x += step) {
    share += (step * Math.exp(-((x + step / 2) ** 2) / 2)) / Math.sqrt(2 * Math.PI);
    for (; i < TABLE_SIZE && share >= shareOf(i); i++) quantiles[i] = x + step;
  }
  return quantiles;
}
