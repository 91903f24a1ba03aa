/** Requests in flight, first in first out, as flat arrays that grow when they must. Knows nothing of what they mean. */

export class Landings {
  #place = new Float64Array(64);
  #bytes = new Float64Array(64);
  #stage = new Int32Array(64);
  #head = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Place in the line at which the first has landed whole. */
  get firstPlace(): number {
    return this.#place[this.#head];
  }

  get firstBytes(): number {
    return this.#bytes[this.#head];
  }

  /** What it belongs to: (key, stage) as one number. */
  get firstStage(): number {
    return this.#stage[this.#head];
  }

  push(place: number, stage: number, bytes: number): void {
    if (this.#count === this.#place.length) this.#grow();
    const at = (this.#head + this.#count++) & (this.#place.length - 1);
    this.#place[at] = place;
    this.#bytes[at] = bytes;
    this.#stage[at] = stage;
  }

  shift(): void {
    this.#head = (this.#head + 1) & (this.#place.length - 1);
    this.#count--;
  }

  #grow(): void {
    this.#place = unrolled(this.#place, this.#head, new Float64Array(2 * this.#count));
    this.#bytes = unrolled(this.#bytes, this.#head, new Float64Array(2 * this.#count));
    this.#stage = unrolled(this.#stage, this.#head, new Int32Array(2 * this.#count));
    this.#head = 0;
  }
}

function unrolled<T extends Float64Array | Int32Array>(ring: T, head: number, into: T): T {
  into.set(ring.subarray(head) as never);
  into.set(ring.subarray(0, head) as never, ring.length - head);
  return into;
}
