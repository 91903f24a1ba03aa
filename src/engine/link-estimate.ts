/**
 * What the engine knows of its own speed: the device's bandwidth while it is busy, and how long the model computes
 * between two router stops. Their product is how much can be read ahead without delaying what is demanded next. It
 * measures nothing itself; times and bytes are told to it.
 */
import type { Phase } from "../cache/policy.ts";

/** Weight of a new sample. A layer in 8 keeps up with changing context lengths and ignores one preempted layer. */
const SMOOTHING = 1 / 8;
/** Until something was measured: a middling NVMe drive. */
const INITIAL_BYTES_PER_MS = 1.5e6;
/** The bandwidth is that of about the last this many ms of observed waiting. */
const MEMORY_MS = 500;

export class LinkEstimate {
  #bytes = INITIAL_BYTES_PER_MS * 10;
  #ms = 10;
  readonly #computeMs: Record<Phase, number> = { prefill: 0, decode: 0 };
  #markedAt = -1;
  #markedBytes = 0;

  /** The model computed `ms` (without waiting) between two router stops. */
  computed(phase: Phase, ms: number): void {
    const before = this.#computeMs[phase];
    this.#computeMs[phase] = before === 0 ? ms : before + (ms - before) * SMOOTHING;
  }

  /**
   * Somebody waited until just now, when `arrivedBytes` had arrived since the start. Only ends of waits are exact times of
   * arrival, so bandwidth is taken between two of them, if the link had work all the time between (`busy` at the first).
   */
  waited(arrivedBytes: number, nowMs: number, busy: boolean): void {
    if (this.#markedAt >= 0) {
      const ms = nowMs - this.#markedAt;
      const keep = Math.max(0, 1 - ms / MEMORY_MS);
      this.#bytes = this.#bytes * keep + (arrivedBytes - this.#markedBytes);
      this.#ms = this.#ms * keep + ms;
    }
    this.#markedAt = busy ? nowMs : -1;
    this.#markedBytes = arrivedBytes;
  }

  /** A new layer: what happens from here on is not continuous with the last wait. */
  interrupted(): void {
    this.#markedAt = -1;
  }

  get bytesPerMs(): number {
    return this.#bytes / this.#ms;
  }

  /** Mean compute time between two router stops of this phase in ms, 0 while unknown. */
  computeMs(phase: Phase): number {
    return this.#computeMs[phase];
  }

  /** Bytes that the link moves while the model computes one layer. */
  windowBytes(phase: Phase): number {
    return this.#computeMs[phase] * this.bytesPerMs;
  }
}
