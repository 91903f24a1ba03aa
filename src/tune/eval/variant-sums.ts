/** Gathers one variant's documents into the sums that its figures are made of, as they come. */
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import { NO_ID } from "../../trace/trace.ts";
import type { CacheCell } from "./cache-cells.ts";
import { DocumentSummer } from "./document-sums.ts";
import type { VariantSums } from "./figures.ts";
import type { RoutedDocument } from "./routed-document.ts";

/** Tokens over which a collapse shows: few experts left. */
const DISTINCT_TOKENS = 2048;

export class VariantSummer {
  readonly #shape: RoutingShape;
  readonly #summer: DocumentSummer;
  readonly #rows: Float64Array[] = [];
  readonly #uses: Float64Array;
  readonly #seen: Uint8Array;
  #tokens = 0;
  #distinct = 0;
  #pieces = 0;

  constructor(shape: RoutingShape, cells: readonly CacheCell[]) {
    this.#shape = shape;
    this.#summer = new DocumentSummer(shape, cells);
    this.#uses = new Float64Array(shape.layers * shape.experts);
    this.#seen = new Uint8Array(shape.layers * shape.experts);
  }

  add(document: RoutedDocument): void {
    this.#rows.push(this.#summer.row(document, this.#uses));
    const { layers, experts, expertsUsed } = this.#shape;
    for (let t = 0; t < document.tokens; t++) {
      for (let slot = t * layers * expertsUsed; slot < (t + 1) * layers * expertsUsed; slot++) {
        const expert = document.experts[slot];
        if (expert !== NO_ID) this.#seen[(Math.floor(slot / expertsUsed) % layers) * experts + expert] = 1;
      }
      if (++this.#tokens % DISTINCT_TOKENS === 0) this.#endPiece();
    }
  }

  sums(): VariantSums {
    if (this.#pieces === 0) this.#endPiece();
    return {
      columns: this.#summer.columns,
      rows: this.#rows,
      uses: this.#uses,
      distinctExperts: this.#distinct / this.#pieces,
    };
  }

  #endPiece(): void {
    this.#distinct += this.#seen.reduce((sum, one) => sum + one, 0) / this.#shape.layers;
    this.#pieces++;
    this.#seen.fill(0);
  }
}
