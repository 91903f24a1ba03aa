/**
 * The few words that both sides of a search share: how far the model is (so that what is stale is not searched), what the
 * searches did, how long they took, and why the searching thread failed.
 */

const PROGRESS = { iteration: 0, layer: 1, bell: 2, stop: 3, stopped: 4, failed: 5, words: 6 } as const;
const COUNT = { semantic: 0, trajectory: 1, empty: 2, stale: 3, updates: 4, droppedForecasts: 5, words: 6 } as const;

export type SearchCount = Exclude<keyof typeof COUNT, "words">;

/** Eight to a doubling from 1 us: the last is for all above 1 s. */
const STEPS_PER_DOUBLING = 8;
const BUCKETS = 20 * STEPS_PER_DOUBLING + 1;
const FAILURE_BYTES = 1024;

export interface SharedSearchState {
  readonly progress: SharedArrayBuffer;
  readonly counts: SharedArrayBuffer;
  readonly times: SharedArrayBuffer;
  readonly failure: SharedArrayBuffer;
}

export class SearchState {
  readonly shared: SharedSearchState;
  readonly #progress: Int32Array;
  readonly #counts: Float64Array;
  readonly #times: Int32Array;

  constructor(shared?: SharedSearchState) {
    this.shared = shared ?? {
      progress: new SharedArrayBuffer(PROGRESS.words * 4),
      counts: new SharedArrayBuffer(COUNT.words * 8),
      times: new SharedArrayBuffer(BUCKETS * 4),
      failure: new SharedArrayBuffer(FAILURE_BYTES),
    };
    this.#progress = new Int32Array(this.shared.progress);
    this.#counts = new Float64Array(this.shared.counts);
    this.#times = new Int32Array(this.shared.times);
  }

  /** The model's thread: it is in this iteration, and this layer's router was the last (-1: none yet). */
  at(iteration: number, layer: number): void {
    Atomics.store(this.#progress, PROGRESS.layer, layer);
    Atomics.store(this.#progress, PROGRESS.iteration, iteration);
  }

  get iteration(): number {
    return Atomics.load(this.#progress, PROGRESS.iteration);
  }

  get layer(): number {
    return Atomics.load(this.#progress, PROGRESS.layer);
  }

  add(count: SearchCount): void {
    this.#counts[COUNT[count]]++;
  }

  count(count: SearchCount): number {
    return this.#counts[COUNT[count]];
  }

  /** One search took this long. */
  took(us: number): void {
    const bucket = us <= 1 ? 0 : Math.ceil(Math.log2(us) * STEPS_PER_DOUBLING);
    this.#times[Math.min(bucket, BUCKETS - 1)]++;
  }

  /** The time that a share `q` of the searches did not exceed, to within a step of the histogram; 0 before the first. */
  timeUs(q: number): number {
    const total = this.#times.reduce((sum, count) => sum + count, 0);
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      below += this.#times[bucket];
      if (below > 0 && below >= q * total) return 2 ** (bucket / STEPS_PER_DOUBLING);
    }
    return 0;
  }

  /** Wakes the searching thread. */
  ring(): void {
    Atomics.add(this.#progress, PROGRESS.bell, 1);
    Atomics.notify(this.#progress, PROGRESS.bell);
  }

  /** What `waitForBell` compares with; read it before looking for work. */
  get bell(): number {
    return Atomics.load(this.#progress, PROGRESS.bell);
  }

  /** The searching thread: sleeps until the bell has rung since `bell` was read. */
  waitForBell(bell: number): void {
    Atomics.wait(this.#progress, PROGRESS.bell, bell);
  }

  askToStop(): void {
    Atomics.store(this.#progress, PROGRESS.stop, 1);
    this.ring();
  }

  get stopAsked(): boolean {
    return Atomics.load(this.#progress, PROGRESS.stop) === 1;
  }

  /** The searching thread touches nothing any more. */
  stopped(): void {
    Atomics.store(this.#progress, PROGRESS.stopped, 1);
    Atomics.notify(this.#progress, PROGRESS.stopped);
  }

  /** @returns whether it has stopped in time */
  waitUntilStopped(timeoutMs: number): boolean {
    return Atomics.wait(this.#progress, PROGRESS.stopped, 0, timeoutMs) !== "timed-out";
  }

  fail(reason: string): void {
    const bytes = new Uint8Array(this.shared.failure);
    bytes.fill(0);
    bytes.set(new TextEncoder().encode(reason).subarray(0, FAILURE_BYTES));
    Atomics.store(this.#progress, PROGRESS.failed, 1);
  }

  get failure(): string | undefined {
    if (Atomics.load(this.#progress, PROGRESS.failed) === 0) return undefined;
    // A decoder takes no shared memory.
    const text = new TextDecoder().decode(new Uint8Array(this.shared.failure).slice());
    return text.slice(0, text.indexOf("\0") < 0 ? undefined : text.indexOf("\0"));
  }
}
