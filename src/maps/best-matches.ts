/** Picks the best of many scores: the one best, or the k best in order. Of equal scores the lower row comes first. */
import { NO_ROW } from "./map-shape.ts";

/** One found row; `row` is NO_ROW when there is none. */
export interface Match {
  row: number;
  /** Cosine, at most 1. */
  score: number;
}

export function noMatch(): Match {
  return { row: NO_ROW, score: 0 };
}

/** Keeps the k best of what it is offered, in arrays of the caller. Rows must be offered in ascending order. */
export class BestMatches {
  count = 0;
  #k = 0;
  #rows: Int32Array = new Int32Array(0);
  #scores: Float32Array = new Float32Array(0);

  /** @param k not above the arrays' lengths */
  begin(k: number, rows: Int32Array, scores: Float32Array): void {
    this.#k = k;
    this.#rows = rows;
    this.#scores = scores;
    this.count = 0;
  }

  offer(row: number, exactScore: number): void {
    // Compared as they are kept, or a row would beat an equal one by what was rounded off.
    const score = Math.fround(exactScore);
    const rows = this.#rows;
    const scores = this.#scores;
    let at = this.count;
    if (at === this.#k) {
      if (at === 0 || !(score > scores[at - 1])) return;
      at--;
    } else this.count++;
    for (; at > 0 && score > scores[at - 1]; at--) {
      scores[at] = scores[at - 1];
      rows[at] = rows[at - 1];
    }
    scores[at] = score;
    rows[at] = row;
  }
}
