/**
 * The tokens of one `Context.decode` call, in native arrays that are allocated once and refilled for every call. Several
 * sequences can share a batch; positions count within a sequence. It belongs to no context and outlives any.
 */
import koffi from "koffi";
import { NativeHandle } from "./handle.ts";
import type { NativePointer, StructValue } from "./structs.ts";

export interface BatchOptions {
  /** Most tokens the batch can hold. */
  readonly capacity: number;
  /** Most sequences one token can belong to (a shared prompt). Default 1. */
  readonly sequencesPerToken?: number;
}

export class Batch implements Disposable {
  readonly capacity: number;
  readonly sequencesPerToken: number;
  readonly #handle: NativeHandle;
  readonly #struct: StructValue;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #sequenceCounts: Int32Array;
  readonly #sequences: Int32Array;
  readonly #outputs: Int8Array;
  #length = 0;
  #outputCount = 0;

  constructor(options: BatchOptions) {
    const { capacity, sequencesPerToken = 1 } = options;
    if (!(capacity >= 1) || !(sequencesPerToken >= 1)) {
      throw new RangeError(`A batch needs room for a token and a sequence, not ${capacity} and ${sequencesPerToken}`);
    }
    this.capacity = capacity;
    this.sequencesPerToken = sequencesPerToken;

    // One block: pointers to each token's sequence ids, then the arrays of 4-byte values, then one flag per token.
    const tokensAt = capacity * 8;
    const positionsAt = tokensAt + capacity * 4;
    const countsAt = positionsAt + capacity * 4;
    const sequencesAt = countsAt + capacity * 4;
    const outputsAt = sequencesAt + capacity * sequencesPerToken * 4;
    const bytes = outputsAt + capacity;
    const base: NativePointer = koffi.alloc("uint8_t", bytes);
    this.#handle = new NativeHandle("batch", base, koffi.free);
    const memory = koffi.view(base, bytes);
    const at = (offset: number): NativePointer => base + BigInt(offset);
    const sequencePointers = new BigUint64Array(memory, 0, capacity);
    for (let i = 0; i < capacity; i++) sequencePointers[i] = at(sequencesAt + i * sequencesPerToken * 4);
    this.#tokens = new Int32Array(memory, tokensAt, capacity);
    this.#positions = new Int32Array(memory, positionsAt, capacity);
    this.#sequenceCounts = new Int32Array(memory, countsAt, capacity);
    this.#sequences = new Int32Array(memory, sequencesAt, capacity * sequencesPerToken);
    this.#outputs = new Int8Array(memory, outputsAt, capacity);
    this.#struct = {
      n_tokens: 0,
      token: at(tokensAt),
      embd: null,
      pos: at(positionsAt),
      n_seq_id: at(countsAt),
      seq_id: base,
      logits: at(outputsAt),
    };
  }

  /** Tokens added since `clear()`. */
  get length(): number {
    return this.#length;
  }

  /** How many of them want logits. */
  get outputCount(): number {
    return this.#outputCount;
  }

  clear(): void {
    this.#length = 0;
    this.#outputCount = 0;
  }

  /**
   * Appends a token and returns its index, which is what `Context.logits` and `Sampler.sample` take.
   * @param position of the token in its sequences, from 0
   * @param sequences the sequence, or all sequences, that the token belongs to
   * @throws RangeError if the batch is full or the token has more sequences than the batch has room for
   */
  add(token: number, position: number, sequences: number | readonly number[], wantLogits: boolean): number {
    this.#handle.assertUsable();
    const index = this.#length;
    if (index === this.capacity) throw new RangeError(`The batch is full at ${this.capacity} tokens`);
    const first = index * this.sequencesPerToken;
    if (typeof sequences === "number") {
      this.#sequences[first] = sequences;
      this.#sequenceCounts[index] = 1;
    } else {
      if (sequences.length === 0 || sequences.length > this.sequencesPerToken) {
        throw new RangeError(
          `A token of this batch has 1 to ${this.sequencesPerToken} sequences, not ${sequences.length}`,
        );
      }
      for (let i = 0; i < sequences.length; i++) this.#sequences[first + i] = sequences[i];
      this.#sequenceCounts[index] = sequences.length;
    }
    this.#tokens[index] = token;
    this.#positions[index] = position;
    this.#outputs[index] = wantLogits ? 1 : 0;
    if (wantLogits) this.#outputCount++;
    this.#length = index + 1;
    return index;
  }

  /** The `llama_batch` to pass by value; valid until the next call of a method. */
  nativeStruct(): StructValue {
    this.#handle.assertUsable();
    this.#struct.n_tokens = this.#length;
    return this.#struct;
  }

  dispose(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
