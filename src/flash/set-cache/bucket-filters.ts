/**
 * One Bloom filter of 8 bytes for each bucket, 4 hashes: 14 objects give one false answer in nine. A bucket whose content is not known
 * yet has all bits set; one that is known to be empty has none. Not persistent: a filter is made anew whenever its bucket is at hand.
 */
import { endOfEntries, entryLow, firstEntry, nextEntry } from "../format/set-page.ts";

const ALL = 0xffff_ffff;

export class BucketFilters {
  /** Lower and upper 32 bits, alternating. */
  readonly #words: Uint32Array;

  /** @param known whether all are known to be empty */
  constructor(buckets: number, known: boolean) {
    this.#words = new Uint32Array(2 * buckets);
    if (!known) this.#words.fill(ALL);
  }

  get bytes(): number {
    return this.#words.byteLength;
  }

  /** @param low lower half of the key's hash; the upper half picks the bucket */
  mayHold(bucket: number, low: number): boolean {
    const lower = lowerBits(low);
    const upper = upperBits(low);
    return (this.#words[2 * bucket] & lower) === lower && (this.#words[2 * bucket + 1] & upper) === upper;
  }

  isUnknown(bucket: number): boolean {
    return this.#words[2 * bucket] === ALL && this.#words[2 * bucket + 1] === ALL;
  }

  isEmpty(bucket: number): boolean {
    return (this.#words[2 * bucket] | this.#words[2 * bucket + 1]) === 0;
  }

  /** From the bucket's page, verified. */
  fill(bucket: number, page: Uint8Array): void {
    let lower = 0;
    let upper = 0;
    const end = endOfEntries(page, 0);
    for (let entry = firstEntry(0); entry < end; entry = nextEntry(page, entry)) {
      const low = entryLow(page, entry);
      lower |= lowerBits(low);
      upper |= upperBits(low);
    }
    this.#words[2 * bucket] = lower;
    this.#words[2 * bucket + 1] = upper;
  }

  /** Nothing in the bucket is to be found any more. */
  empty(bucket: number): void {
    this.#words[2 * bucket] = 0;
    this.#words[2 * bucket + 1] = 0;
  }

  /** The key is not to be found any more; nor are those that share the bit that is taken, one in fifteen or so. */
  hide(bucket: number, low: number): void {
    const bit = low & 63;
    if (bit < 32) this.#words[2 * bucket] &= ~(1 << bit);
    else this.#words[2 * bucket + 1] &= ~(1 << (bit - 32));
  }
}

/** Four numbers of 6 bits from the hash, those below 32. */
function lowerBits(low: number): number {
  return bitBelow32(low) | bitBelow32(low >>> 6) | bitBelow32(low >>> 12) | bitBelow32(low >>> 18);
}

function upperBits(low: number): number {
  return (
    bitBelow32(low ^ 32) | bitBelow32((low >>> 6) ^ 32) | bitBelow32((low >>> 12) ^ 32) | bitBelow32((low >>> 18) ^ 32)
  );
}

/** The bit of that number, 0 to 63, or 0 when it is in the other word. */
function bitBelow32(number: number): number {
  return ((number & 32) >>> 5) ^ 1 ? 1 << (number & 31) : 0;
}
