/**
 * A batch's choices sorted by expert: which rows each expert works on, in pieces small enough to be computed at once. It
 * moves indices only; the products are in `experts.ts`.
 */
import { type NativeFloats, type NativeInts, nativeFloats, nativeInts } from "../../llama/native-arrays.ts";
import type { Routing } from "./router.ts";

/** Rows `from` to `from + count - 1` of the sorted ones, all of one expert. */
export interface ExpertRows {
  readonly expert: number;
  readonly from: number;
  readonly count: number;
}

/** Most rows that one product takes: bounds the memory between the products of an expert that everybody chose. */
const ROWS_AT_ONCE = 512;

export class ExpertSlots implements Disposable {
  /** Token of each sorted row. */
  readonly tokens: NativeInts;
  /** Weight that each sorted row's output is multiplied with. */
  readonly weights: NativeFloats;
  /** Place of each sorted row in `[tokens][expertsUsed]`. */
  readonly slots: Int32Array;
  readonly pieces: ExpertRows[] = [];

  /** @param capacity tokens x experts per token, at most */
  constructor(capacity: number) {
    this.tokens = nativeInts(capacity);
    this.weights = nativeFloats(capacity);
    this.slots = new Int32Array(capacity);
  }

  sort({ ids, weights }: Routing, experts: number, expertsUsed: number): void {
    const starts = new Int32Array(experts + 1);
    for (let i = 0; i < ids.length; i++) starts[ids[i] + 1]++;
    for (let e = 0; e < experts; e++) starts[e + 1] += starts[e];
    this.#cut(experts, (expert) => [starts[expert], starts[expert + 1]]);
    const next = starts.slice();
    for (let slot = 0; slot < ids.length; slot++) {
      const row = next[ids[slot]]++;
      this.tokens.values[row] = Math.floor(slot / expertsUsed);
      this.weights.values[row] = weights[slot];
      this.slots[row] = slot;
    }
  }

  /** Every token once, at one expert with `weights`: how a shared expert is chosen. */
  all(weights: Float32Array): void {
    this.#cut(1, () => [0, weights.length]);
    for (let t = 0; t < weights.length; t++) {
      this.tokens.values[t] = t;
      this.weights.values[t] = weights[t];
      this.slots[t] = t;
    }
  }

  #cut(experts: number, rowsOf: (expert: number) => readonly [from: number, to: number]): void {
    this.pieces.length = 0;
    for (let expert = 0; expert < experts; expert++) {
      const [start, end] = rowsOf(expert);
      for (let from = start; from < end; from += ROWS_AT_ONCE)
        this.pieces.push({ expert, from, count: Math.min(ROWS_AT_ONCE, end - from) });
    }
  }

  [Symbol.dispose](): void {
    this.tokens[Symbol.dispose]();
    this.weights[Symbol.dispose]();
  }
}
