/**
 * The tokens of one sequence as a chain of blocks, and the keys of what is known about each block. The key of a block is a hash of
 * everything before it (model, then block by block all tokens), so that it can be asked for before the block itself is known, and
 * two prompts share keys exactly as far as they share whole blocks.
 */
import { createHash } from "node:crypto";

/** Two prompts with the same key are a matter of one in 2^64 prompts; what it would cost is some speed. */
export const KEY_BYTES = 16;

export class BlockChain {
  readonly blockTokens: number;
  /** By block: hash of what stands before it. One more than there are whole blocks. */
  readonly #digests: Uint8Array[];
  #length = 0;
  /** All that are known: going back may end in the middle of a block. */
  #tokens = new Int32Array(512);

  /** @param salt what the keys are of besides tokens; another salt shares no key with this one */
  constructor(salt: string, blockTokens: number) {
    this.blockTokens = blockTokens;
    this.#digests = [createHash("sha256").update(`warmset hints 1\n${blockTokens}\n${salt}`).digest()];
  }

  /** Tokens known. */
  get length(): number {
    return this.#length;
  }

  /**
   * From `position` on stand these tokens, and nothing is known of what comes after them. False when tokens before are not known:
   * then nothing is.
   */
  extend(position: number, tokens: Int32Array): boolean {
    const { blockTokens } = this;
    if (position > this.#length) {
      this.#truncate(0);
      return false;
    }
    this.#truncate(position);
    this.#makeRoom(position + tokens.length);
    for (const token of tokens) {
      this.#tokens[this.#length++] = token;
      if (this.#length % blockTokens === 0) this.#close();
    }
    return true;
  }

  /** @param block 0 up to `length / blockTokens`, rounded down @returns 16 bytes */
  key(block: number): Uint8Array {
    const digest = this.#digests[block];
    if (digest === undefined) throw new RangeError(`What stands before block ${block} is not known`);
    return digest.subarray(0, KEY_BYTES);
  }

  #truncate(length: number): void {
    this.#length = length;
    this.#digests.length = 1 + Math.floor(length / this.blockTokens);
  }

  /** The last block is whole. */
  #close(): void {
    const block = this.#tokens.subarray(this.#length - this.blockTokens, this.#length);
    const before = this.#digests[this.#digests.length - 1];
    this.#digests.push(createHash("sha256").update(before).update(block).digest());
  }

  #makeRoom(length: number): void {
    if (length <= this.#tokens.length) return;
    const larger = new Int32Array(2 ** Math.ceil(Math.log2(length)));
    larger.set(this.#tokens);
    this.#tokens = larger;
  }
}
