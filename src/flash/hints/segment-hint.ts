/**
 * What is remembered of a block of tokens: how often each expert of each layer was used in it, in 1, 2 or 4 bits an expert, and how
 * many observations that is the mean of. A few dozen to a few hundred bytes, of which no model's name is part: a hint is found only
 * under a key that was made for its model.
 */
import type { ModelShape } from "../../cache/shape.ts";

/** Bits of an expert: whether it is used, how often roughly (0, 1, 3, 8), or how often (0 to 15). */
export type HintBits = 1 | 2 | 4;

/**
 * What is used unless somebody wants to compare. Simulated (`bench/results/hints.json`), with a quarter of the demo model's experts in
 * memory and hints of the very same text: a token of lru takes 358 ms without, and 260, 232, 237, 270 with blocks of 4, 8, 16, 32
 * tokens. With blocks of 8 and 2 bits it takes 277, with 1 bit 312: a block uses more experts than there is room for, and a bitmap
 * does not say which of them matter.
 */
export const BLOCK_TOKENS = 8;
export const HINT_BITS: HintBits = 4;

/** Of 16 tokens. With one bit an expert counts as used to the end of the block. */
const USES: Readonly<Record<HintBits, readonly number[]>> = {
  1: [0, 15],
  2: [0, 1, 3, 8],
  4: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
};
const HEADER_BYTES = 2;
/** A mean over more would take too long to follow a prompt whose answers have changed. */
const MOST_OBSERVATIONS = 8;

export class SegmentCodec {
  readonly bits: HintBits;
  /** Of a hint. */
  readonly bytes: number;
  readonly #experts: number;
  readonly #uses: readonly number[];
  /** By number of uses: what it is kept as. */
  readonly #code = new Uint8Array(256);
  readonly #perByte: number;

  constructor(shape: Pick<ModelShape, "layers" | "experts">, bits: HintBits) {
    this.bits = bits;
    this.#experts = shape.layers * shape.experts;
    this.#perByte = 8 / bits;
    this.bytes = HEADER_BYTES + Math.ceil(this.#experts / this.#perByte);
    this.#uses = USES[bits];
    for (let uses = 1; uses < 256; uses++) this.#code[uses] = bits === 1 ? 1 : this.#nearest(uses);
  }

  /** @param uses by expert key: uses in the block, 0 to 255 */
  encode(uses: Uint8Array): Uint8Array {
    const hint = new Uint8Array(this.bytes);
    this.#write(hint, uses, 1);
    return hint;
  }

  /** Fills `uses` by expert key. False, and untouched, when the bytes are no hint of this shape. */
  decode(hint: Uint8Array, uses: Uint8Array): boolean {
    if (hint.length !== this.bytes || hint[0] !== this.bits || hint[1] === 0) return false;
    const mask = 2 ** this.bits - 1;
    for (let key = 0; key < this.#experts; key++) {
      const byte = hint[HEADER_BYTES + Math.floor(key / this.#perByte)];
      uses[key] = this.#uses[(byte >>> ((key % this.#perByte) * this.bits)) & mask];
    }
    return true;
  }

  /**
   * An old hint after one more observation: the mean of all, with one bit the newest. Undefined when that would say nothing new,
   * so that it need not be written.
   */
  merge(old: Uint8Array | undefined, observed: Uint8Array): Uint8Array | undefined {
    const before = new Uint8Array(this.#experts);
    if (old === undefined || !this.decode(old, before)) return observed;
    const now = new Uint8Array(this.#experts);
    if (!this.decode(observed, now)) return undefined;
    const weight = this.bits === 1 ? 0 : Math.min(old[1], MOST_OBSERVATIONS - 1);
    for (let key = 0; key < this.#experts; key++)
      now[key] = Math.round((weight * before[key] + now[key]) / (weight + 1));
    const merged = new Uint8Array(this.bytes);
    this.#write(merged, now, Math.min(old[1] + 1, MOST_OBSERVATIONS));
    for (let i = HEADER_BYTES; i < this.bytes; i++) if (merged[i] !== old[i]) return merged;
    return undefined;
  }

  #write(hint: Uint8Array, uses: Uint8Array, observations: number): void {
    hint[0] = this.bits;
    hint[1] = observations;
    for (let key = 0; key < this.#experts; key++)
      hint[HEADER_BYTES + Math.floor(key / this.#perByte)] |=
        this.#code[uses[key]] << ((key % this.#perByte) * this.bits);
  }

  #nearest(uses: number): number {
    let best = 1;
    for (let code = 2; code < this.#uses.length; code++)
      if (Math.abs(this.#uses[code] - uses) < Math.abs(this.#uses[best] - uses)) best = code;
    return best;
  }
}
