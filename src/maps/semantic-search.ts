/**
 * Which stored rows have the embedding nearest to a given one, before anything of an iteration is observed. With RoPE an
 * embedding is a function of the token id only, so an id that is in the store needs no search: its cosine is 1.
 */
import { BestMatches, type Match } from "./best-matches.ts";
import type { ExpertMapStore } from "./expert-map-store.ts";
import { NO_ROW, NO_TOKEN } from "./map-shape.ts";

export class SemanticSearch {
  readonly #store: ExpertMapStore;
  readonly #dots: Float64Array;
  readonly #matches = new BestMatches();
  readonly #bestRow = new Int32Array(1);
  readonly #bestScore = new Float32Array(1);

  constructor(store: ExpertMapStore) {
    this.#store = store;
    this.#dots = new Float64Array(store.capacity);
  }

  /** The row with the highest cosine; NO_ROW in an empty store or one without embeddings. A zero vector has cosine 0. */
  best(embedding: Float32Array, into: Match): Match {
    const found = this.nearest(1, embedding, this.#bestRow, this.#bestScore);
    into.row = found === 0 ? NO_ROW : this.#bestRow[0];
    into.score = found === 0 ? 0 : this.#bestScore[0];
    return into;
  }

  /** The k nearest, best first. @returns how many there are */
  nearest(k: number, embedding: Float32Array, rows: Int32Array, scores: Float32Array): number {
    const store = this.#store;
    const { size, embeddingInverseNorms } = store;
    const { hiddenSize } = store.shape;
    if (hiddenSize === 0 || size === 0) return 0;
    const dots = this.#dots.fill(0, 0, size);
    store.embeddings.addDots(embedding, 0, store.everyRow, size, dots);
    let squares = 0;
    for (let i = 0; i < hiddenSize; i++) squares += embedding[i] * embedding[i];
    const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    const matches = this.#matches;
    matches.begin(k, rows, scores);
    for (let row = 0; row < size; row++)
      matches.offer(row, Math.min(1, dots[row] * scale * embeddingInverseNorms[row]));
    return matches.count;
  }

  /** Rows of this token, lowest first, as many as `rows` holds. @returns how many were written */
  rowsOfToken(tokenId: number, rows: Int32Array): number {
    if (tokenId === NO_TOKEN) return 0;
    const { size, tokenIds } = this.#store;
    let found = 0;
    for (let row = 0; row < size && found < rows.length; row++) if (tokenIds[row] === tokenId) rows[found++] = row;
    return found;
  }
}
