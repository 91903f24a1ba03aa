/** How often each key of a stream came, and its size: open addressing over typed arrays, 16 to 32 bytes for a key. */
import { idHash } from "./key-bytes.ts";

const FIRST_CAPACITY = 2 ** 16;

export class KeyCounts {
  #keys = 0;
  #low = new Uint32Array(FIRST_CAPACITY);
  #high = new Uint32Array(FIRST_CAPACITY);
  /** 0 where no key is. */
  #count = new Uint32Array(FIRST_CAPACITY);
  #bytes = new Uint32Array(FIRST_CAPACITY);

  get keys(): number {
    return this.#keys;
  }

  /** @param objectBytes the last one given for a key is kept */
  add(idLow: number, idHigh: number, objectBytes: number): void {
    const place = this.#placeOf(idLow, idHigh);
    if (this.#count[place] === 0) {
      this.#low[place] = idLow;
      this.#high[place] = idHigh;
      this.#keys++;
    }
    this.#count[place]++;
    this.#bytes[place] = objectBytes;
    if (this.#keys * 2 > this.#count.length) this.#grow();
  }

  /** Of all keys, in no order. */
  counts(): Uint32Array {
    return this.#count.filter((count) => count > 0);
  }

  /** Sum of the sizes, each key once. */
  totalBytes(): number {
    let total = 0;
    for (let i = 0; i < this.#count.length; i++) if (this.#count[i] > 0) total += this.#bytes[i];
    return total;
  }

  #placeOf(idLow: number, idHigh: number): number {
    const mask = this.#count.length - 1;
    let place = idHash(idLow, idHigh) & mask;
    while (this.#count[place] > 0 && (this.#low[place] !== idLow || this.#high[place] !== idHigh))
      place = (place + 1) & mask;
    return place;
  }

  #grow(): void {
    const [low, high, count, bytes] = [this.#low, this.#high, this.#count, this.#bytes];
    const capacity = count.length * 2;
    this.#low = new Uint32Array(capacity);
    this.#high = new Uint32Array(capacity);
    this.#count = new Uint32Array(capacity);
    this.#bytes = new Uint32Array(capacity);
    for (let i = 0; i < count.length; i++) {
      if (count[i] === 0) continue;
      const place = this.#placeOf(low[i], high[i]);
      this.#low[place] = low[i];
      this.#high[place] = high[i];
      this.#count[place] = count[i];
      this.#bytes[place] = bytes[i];
    }
  }
}
