/**
 * Keys that the engine was lately asked for and did not hold: a set behind a missed get replaces nothing. One entry for each
 * place, so it may have forgotten; what it says is certain as long as it is told of every put.
 */
import type { HashedKey } from "../key-hash.ts";

const PLACES = 1 << 14;

export class RecentMisses {
  /** Lower and upper half of a hash, alternating. A key whose hash is 0 is never remembered. */
  readonly #hashes = new Uint32Array(2 * PLACES);

  get ramBytes(): number {
    return this.#hashes.byteLength;
  }

  missed(key: HashedKey): void {
    const at = placeOf(key);
    this.#hashes[at] = key.low;
    this.#hashes[at + 1] = key.high;
  }

  has(key: HashedKey): boolean {
    const at = placeOf(key);
    return this.#hashes[at] === key.low && this.#hashes[at + 1] === key.high && (key.low | key.high) !== 0;
  }

  /** The engine may hold it from now on. */
  forget(key: HashedKey): void {
    if (!this.has(key)) return;
    this.#hashes[placeOf(key)] = 0;
    this.#hashes[placeOf(key) + 1] = 0;
  }
}

function placeOf({ low }: HashedKey): number {
  return 2 * (low % PLACES);
}
