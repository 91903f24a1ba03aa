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

export class LinkEstimate {
  bytesPerMs = INITIAL_BYTES_PER_MS;
  #computeMs: Record<Phase, number> = { prefill: 0, decode: 0 };
  #busySince = -1;
  #bytesThen = 0;

  /** The model computed `ms` (without waiting) between two router stops. */
  computed(phase: Phase, ms: number): void {
    const before = this.#computeMs[phase];
    this.#computeMs[phase] = before === 0 ? ms : before + (ms - before) * SMOOTHING;
  }

  /** `bytes` have arrived since the start; `busy`: reads are in flight still, so the link did not pause until now. */
  arrived(bytes: number, nowMs: number, busy: boolean): void {
    const ms = nowMs - this.#busySince;
    if (this.#busySince >= 0 && ms > 1 && bytes > this.#bytesThen) {
      const sample = (bytes - this.#bytesThen) / ms;
      // A link that ran dry on the way gives a lower bound only.
      if (busy || sample > this.bytesPerMs) this.bytesPerMs += (sample - this.bytesPerMs) * SMOOTHING;
      this.#busySince = -1;
    }
    if (!busy) this.#busySince = -1;
    else if (this.#busySince < 0) {
      this.#busySince = nowMs;
      this.#bytesThen = bytes;
    }
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
