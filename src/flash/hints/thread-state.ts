/** What the thread of a store of hints and the model's thread can see of each other without a message: shared memory of a few words. */

const STATE = 0;
const ANSWERS = 1;
const WORDS = 2;

export type ThreadPhase = "opening" | "open" | "failed" | "stopped";
const PHASES: readonly ThreadPhase[] = ["opening", "open", "failed", "stopped"];

export class ThreadState {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(shared = new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
  }

  get phase(): ThreadPhase {
    return PHASES[Atomics.load(this.#words, STATE)];
  }

  set phase(phase: ThreadPhase) {
    Atomics.store(this.#words, STATE, PHASES.indexOf(phase));
    Atomics.notify(this.#words, STATE);
  }

  /** Waits until the phase is another one, `waitMs` at most. */
  waitWhile(phase: ThreadPhase, waitMs: number): void {
    const end = performance.now() + waitMs;
    for (let left = waitMs; left > 0 && this.phase === phase; left = end - performance.now())
      Atomics.wait(this.#words, STATE, PHASES.indexOf(phase), left);
  }

  /** Messages that were sent, counted. */
  get answers(): number {
    return Atomics.load(this.#words, ANSWERS);
  }

  /** A message was sent. */
  answered(): void {
    Atomics.add(this.#words, ANSWERS, 1);
    Atomics.notify(this.#words, ANSWERS);
  }

  /** Waits until there are other than `seen` answers, `waitMs` at most. */
  waitForAnswer(seen: number, waitMs: number): void {
    Atomics.wait(this.#words, ANSWERS, seen, waitMs);
  }
}
