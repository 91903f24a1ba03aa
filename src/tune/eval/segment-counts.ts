/**
 * SRP of a variant's documents: how well a router that decides once for 16 tokens could do on their routing, over all layers.
 * Counted and scored by `locality`; here the documents are gathered.
 */
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import { segmentScore } from "../../locality/srp.ts";
import { countSegments, makeSegmentScratch, type SegmentScratch } from "../../locality/srp-histograms.ts";
import { layerSequence, type RoutedDocument } from "./routed-document.ts";

/** m of SRP, tokens. */
export const SEGMENT_TOKENS = 16;

export class SegmentCounts {
  readonly #shape: RoutingShape;
  readonly #total = new Int32Array(SEGMENT_TOKENS + 1);
  readonly #byExpert: Uint32Array;
  readonly #scratch: SegmentScratch;
  /** By place in the document; grows with the longest. */
  #positions = new Float64Array(0);

  constructor(shape: RoutingShape) {
    this.#shape = shape;
    this.#byExpert = new Uint32Array(shape.experts * (SEGMENT_TOKENS + 1));
    this.#scratch = makeSegmentScratch(shape.experts);
  }

  /** Windows do not go across documents. */
  add(document: RoutedDocument): void {
    const needed = (document.tokens + 1) * (SEGMENT_TOKENS + 1);
    if (this.#positions.length < needed) this.#positions = new Float64Array(needed);
    const targets = {
      ...{ byExpert: this.#byExpert, expertsAt: 0, total: this.#total, totalAt: 0 },
      ...{ positions: this.#positions, positionsAt: 0 },
    };
    for (let layer = 0; layer < this.#shape.layers; layer++)
      countSegments(layerSequence(document, layer, this.#shape), SEGMENT_TOKENS, targets, this.#scratch);
  }

  /** 0 to 1; null when no document has as many tokens. */
  get srp(): number | null {
    return this.#total.some((count) => count > 0) ? segmentScore(this.#total, SEGMENT_TOKENS).srp : null;
  }
}
