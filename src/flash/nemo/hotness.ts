/**
 * One bit for each object of the oldest set groups: whether it was read since they became old. An object's bit is that of its
 * place in its set; from the 33rd on they share the bits of the first. Not for set groups in the young part of the pool.
 */

/** A set of 4 KiB holds 15 objects of 246 bytes; sets of small ones hold up to twice that before places share bits. */
const BITS = 32;

export class Hotness {
  readonly #sets: number;
  readonly #tracked: number;
  /** A word per set, set group after set group; that of sequence number q is the (q % tracked)-th. */
  readonly words: Uint32Array;

  /** @param tracked set groups, 0 or more */
  constructor(sets: number, tracked: number) {
    this.#sets = sets;
    this.#tracked = tracked;
    this.words = new Uint32Array(sets * tracked);
  }

  /** Whether reads of the set group count, given the oldest one's sequence number. */
  tracks(sequence: number, oldest: number): boolean {
    return sequence < oldest + this.#tracked;
  }

  set(sequence: number, s: number, place: number): void {
    this.words[this.#at(sequence) + s] |= 1 << (place % BITS);
  }

  has(sequence: number, s: number, place: number): boolean {
    return this.#tracked > 0 && (this.words[this.#at(sequence) + s] & (1 << (place % BITS))) !== 0;
  }

  /** When the set group leaves: its words are the next one's to become old. */
  forget(sequence: number): void {
    if (this.#tracked > 0) this.words.fill(0, this.#at(sequence), this.#at(sequence) + this.#sets);
  }

  /** Clears the bits of a set number in all set groups. */
  cool(s: number): void {
    for (let at = s; at < this.words.length; at += this.#sets) this.words[at] = 0;
  }

  #at(sequence: number): number {
    return (sequence % this.#tracked) * this.#sets;
  }
}
