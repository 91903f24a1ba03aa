/** Gathers one variant's documents into the sums that its figures are made of, as they come. */
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import { NO_ID } from "../../trace/trace.ts";
import type { CacheCell } from "./cache-cells.ts";
import { DocumentSummer } from "./document-sums.ts";
import type { VariantSums } from "./figures.ts";
import type { RoutedDocument } from "./routed-document.ts";
import { SegmentCounts } from "./segment-counts.ts";

/** Tokens over which a collapse shows: few experts left. */
const DISTINCT_TOKENS = 2048;

export class VariantSummer {
  readonly #shape: RoutingShape;
  readonly #summer: DocumentSummer;
  readonly #segments: SegmentCounts;
  readonly #rows: Float64Array[] = [];
  readonly #uses: Float64Array;
  readonly #seen: Uint8Array;
  readonly #warm: boolean;
  #before: RoutedDocument | undefined;
  #tokens = 0;
  #distinct = 0;
  #pieces = 0;

  /** @param warmCaches caches go on from document to document. @default they are emptied */
  constructor(shape: RoutingShape, cells: readonly CacheCell[], warmCaches = false) {
    this.#warm = warmCaches;
    this.#shape = shape;
    this.#summer = new DocumentSummer(shape, cells);
    this.#segments = new SegmentCounts(shape);
    this.#uses = new Float64Array(shape.layers * shape.experts);
    this.#seen = new Uint8Array(shape.layers * shape.experts);
  }

  add(document: RoutedDocument): void {
    this.#rows.push(this.#summer.row(document, this.#uses, this.#before));
    if (this.#warm) this.#before = document;
    this.#segments.add(document);
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
      srp: this.#segments.srp,
    };
  }

  #endPiece(): void {
    this.#distinct += this.#seen.reduce((sum, one) => sum + one, 0) / this.#shape.layers;
    this.#pieces++;
    this.#seen.fill(0);
  }
}
