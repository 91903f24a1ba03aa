/**
 * A document's figures as one row of sums, so that every figure of a report is a ratio of two sums over documents, and a
 * confidence interval is the same ratio over documents drawn again. Which columns there are depends on the model's layers and on
 * the cells that are counted.
 */
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import { type CacheCell, CacheCounter } from "./cache-cells.ts";
import { layerSequence, type RoutedDocument } from "./routed-document.ts";

/** Distances at which reuse is told. */
export const MOST_LAGS = 32;

/** Column of a sum in a row. */
export interface SumColumns {
  readonly tokens: number;
  readonly uses: number;
  /** By layer, from here on. */
  readonly overlap: number;
  readonly overlapUses: number;
  /** By lag - 1, from here on: uses of which the token `lag` before used the same expert, and uses that have such a token. */
  readonly reused: number;
  readonly reusable: number;
  readonly predictions: number;
  readonly loss: number;
  readonly kl: number;
  readonly sameTop: number;
  readonly decisions: number;
  readonly trustKl: number;
  readonly keptMass: number;
  readonly agreement: number;
  readonly repetition: number;
  readonly documents: number;
  /** By cell, from here on. */
  readonly hits: number;
  readonly width: number;
}

export function sumColumns(layers: number, cells: number): SumColumns {
  let next = 0;
  const take = (count = 1): number => {
    next += count;
    return next - count;
  };
  return {
    ...{ tokens: take(), uses: take(), overlap: take(layers), overlapUses: take(layers) },
    ...{ reused: take(MOST_LAGS), reusable: take(MOST_LAGS) },
    ...{ predictions: take(), loss: take(), kl: take(), sameTop: take() },
    ...{ decisions: take(), trustKl: take(), keptMass: take(), agreement: take() },
    ...{ repetition: take(), documents: take(), hits: take(cells) },
    width: next,
  };
}

/** Makes rows of sums, and counts how often each expert is used on the way. */
export class DocumentSummer {
  readonly columns: SumColumns;
  readonly #shape: RoutingShape;
  readonly #caches: CacheCounter;
  readonly #lastUse: Int32Array;

  constructor(shape: RoutingShape, cells: readonly CacheCell[]) {
    this.columns = sumColumns(shape.layers, cells.length);
    this.#shape = shape;
    this.#caches = new CacheCounter(shape, cells);
    this.#lastUse = new Int32Array(shape.experts * MOST_LAGS);
  }

  /**
   * @param uses `[layers][experts]`, counted up
   * @param before the document that filled the caches. @default they are empty
   */
  row(document: RoutedDocument, uses: Float64Array, before?: RoutedDocument): Float64Array {
    const { columns } = this;
    const row = new Float64Array(columns.width);
    row[columns.tokens] = document.tokens;
    row[columns.documents] = 1;
    row[columns.repetition] = document.repetition;
    for (let layer = 0; layer < this.#shape.layers; layer++) this.#addLayer(row, document, layer, uses);
    const { drift } = document;
    if (drift !== undefined) for (const name of DRIFT) row[columns[name]] = drift[name];
    row.set(this.#caches.hits(document, before), columns.hits);
    return row;
  }

  #addLayer(row: Float64Array, document: RoutedDocument, layer: number, uses: Float64Array): void {
    const { columns } = this;
    const { experts } = this.#shape;
    const { tokens, ids, starts } = layerSequence(document, layer, this.#shape);
    // Which token of the last MOST_LAGS used an expert: the token's number + 1, by its remainder.
    this.#lastUse.fill(0);
    for (let t = 0; t < tokens; t++) {
      for (let i = starts[t]; i < starts[t + 1]; i++) {
        const expert = ids[i];
        row[columns.uses]++;
        uses[layer * experts + expert]++;
        for (let lag = 1; lag <= Math.min(t, MOST_LAGS); lag++) {
          const reused = this.#lastUse[expert * MOST_LAGS + ((t - lag) % MOST_LAGS)] === t - lag + 1 ? 1 : 0;
          row[columns.reused + lag - 1] += reused;
          row[columns.reusable + lag - 1]++;
          if (lag > 1) continue;
          row[columns.overlap + layer] += reused;
          row[columns.overlapUses + layer]++;
        }
      }
      for (let i = starts[t]; i < starts[t + 1]; i++) this.#lastUse[ids[i] * MOST_LAGS + (t % MOST_LAGS)] = t + 1;
    }
  }
}

const DRIFT = [
  ...(["predictions", "loss", "kl", "sameTop"] as const),
  ...(["decisions", "trustKl", "keptMass", "agreement"] as const),
];
