/**
 * Counts the slots of a ring between one producer and one consumer, which may be in different threads: neither ever waits
 * for the other. What is in the slots belongs to the users, `context-ring.ts` and `forecast-ring.ts`.
 */

const HEAD = 0;
const TAIL = 1;

export class SharedRing {
  readonly slots: number;
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(slots: number, memory: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.slots = slots;
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  /** Slots in use. Both ends count modulo twice the slots, so that full and empty differ. */
  get used(): number {
    const twice = 2 * this.slots;
    return (Atomics.load(this.#words, HEAD) - Atomics.load(this.#words, TAIL) + twice) % twice;
  }

  /** The slot to fill next, or -1 when all are used. For the producer. */
  free(): number {
    return this.used === this.slots ? -1 : Atomics.load(this.#words, HEAD) % this.slots;
  }

  /** The slot that `free` gave is filled. */
  publish(): void {
    this.#advance(HEAD);
  }

  /** The slot to empty next, or -1 when none is used. For the consumer. */
  first(): number {
    return this.used === 0 ? -1 : Atomics.load(this.#words, TAIL) % this.slots;
  }

  /** The slot that `first` gave is empty again. */
  release(): void {
    this.#advance(TAIL);
  }

  #advance(end: number): void {
    Atomics.store(this.#words, end, (Atomics.load(this.#words, end) + 1) % (2 * this.slots));
  }
}
