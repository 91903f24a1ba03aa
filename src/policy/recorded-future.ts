/**
 * A run that is to come, for policies that know it: per router stop the distinct experts, and for each of them the stop
 * at which it is demanded again. Flat arrays over shared memory, 8 bytes a demanded expert, so that a long run fits and
 * worker threads share it. It is data; what is done with the knowledge is a policy's business.
 */

/** What one router stop of the recorded run demanded. */
export interface RecordedStop {
  readonly layer: number;
  /** Distinct experts of the micro-batch, as keys. */
  readonly distinct: Int32Array;
}

export interface RecordedFuture {
  readonly stops: number;
  /** [stops] */
  readonly layers: Uint16Array;
  /** [stops + 1] Index of a stop's first demand; its last is before that of the next stop. */
  readonly firstDemand: Uint32Array;
  /** [demands] Keys, in the order of the run. */
  readonly keys: Int32Array;
  /** [demands] The stop at which this key is demanded again; `stops` for never. */
  readonly nextStop: Int32Array;
}

export function recordedFuture(stops: readonly RecordedStop[]): RecordedFuture {
  const recorder = new FutureRecorder();
  for (const { layer, distinct } of stops) recorder.stop(layer, distinct, distinct.length);
  return recorder.finish();
}

/** Takes a run stop by stop. */
export class FutureRecorder {
  #stops = 0;
  #demands = 0;
  #keyBound = 0;
  #layers = new Uint16Array(1024);
  #firstDemand = new Uint32Array(1024);
  #keys = new Int32Array(4096);

  /** The first `count` entries of `distinct`. */
  stop(layer: number, distinct: Int32Array, count: number): void {
    if (this.#stops === this.#layers.length) {
      this.#layers = doubled(this.#layers, Uint16Array);
      this.#firstDemand = doubled(this.#firstDemand, Uint32Array);
    }
    while (this.#demands + count > this.#keys.length) this.#keys = doubled(this.#keys, Int32Array);
    this.#layers[this.#stops] = layer;
    this.#firstDemand[this.#stops++] = this.#demands;
    for (let i = 0; i < count; i++) {
      const key = distinct[i] as number;
      this.#keys[this.#demands++] = key;
      if (key >= this.#keyBound) this.#keyBound = key + 1;
    }
  }

  finish(): RecordedFuture {
    const stops = this.#stops;
    const demands = this.#demands;
    const layers = new Uint16Array(new SharedArrayBuffer(2 * stops));
    const firstDemand = new Uint32Array(new SharedArrayBuffer(4 * (stops + 1)));
    const keys = new Int32Array(new SharedArrayBuffer(4 * demands));
    const nextStop = new Int32Array(new SharedArrayBuffer(4 * demands));
    layers.set(this.#layers.subarray(0, stops));
    firstDemand.set(this.#firstDemand.subarray(0, stops));
    firstDemand[stops] = demands;
    keys.set(this.#keys.subarray(0, demands));
    const next = new Int32Array(this.#keyBound).fill(stops);
    for (let stop = stops - 1; stop >= 0; stop--)
      for (let i = (firstDemand[stop + 1] as number) - 1; i >= (firstDemand[stop] as number); i--) {
        const key = keys[i] as number;
        nextStop[i] = next[key] as number;
        next[key] = stop;
      }
    return { stops, layers, firstDemand, keys, nextStop };
  }
}

function doubled<T extends Uint16Array | Uint32Array | Int32Array>(full: T, type: new (length: number) => T): T {
  const larger = new type(2 * full.length);
  larger.set(full);
  return larger;
}
