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
/** What that counts as. */
const INITIAL_MS = 10;
/** The bandwidth is that of about the last this many ms of a busy link. */
const MEMORY_MS = 500;
/**
 * A link that does not get idle is measured in parts of this length: virtual drives tell of some 40 finished requests at a
 * time, 20 ms apart, and between two ends of waits that are closer bandwidths of 4 to 10 GB/s appear on one that has 2.3.
 */
const PART_MS = 100;

export class LinkEstimate {
  #bytes = INITIAL_BYTES_PER_MS * INITIAL_MS;
  #ms = INITIAL_MS;
  readonly #computeMs: Record<Phase, number> = { prefill: 0, decode: 0 };
  /** Since when the link has been busy, or the running part of that time; -1 while it is idle. */
  #busySince = -1;
  #bytesBefore = 0;

  /** The model computed `ms` (without waiting) between two router stops. */
  computed(phase: Phase, ms: number): void {
    const before = this.#computeMs[phase];
    this.#computeMs[phase] = before === 0 ? ms : before + (ms - before) * SMOOTHING;
  }

  /** Reads are handed over from now on. `arrivedBytes` counts from the start, here and below. */
  handedOver(nowMs: number, arrivedBytes: number): void {
    if (this.#busySince >= 0) return;
    this.#busySince = nowMs;
    this.#bytesBefore = arrivedBytes;
  }

  /** Somebody waited until just now for a read. `busy`: others are still in flight. */
  waited(nowMs: number, arrivedBytes: number, busy: boolean): void {
    if (busy) this.#goOn(nowMs, arrivedBytes);
    else this.#end(nowMs, arrivedBytes, true);
  }

  /**
   * Somebody looked without waiting. What is found finished may have been so for long: as a bandwidth it is only a lower
   * bound, which counts where it is above what was believed.
   */
  looked(nowMs: number, arrivedBytes: number, busy: boolean): void {
    if (busy) this.#goOn(nowMs, arrivedBytes);
    else this.#end(nowMs, arrivedBytes, false);
  }

  /** Whether the link went on being busy is not known: for reads that nobody tells of when they are finished. */
  lostSight(): void {
    this.#busySince = -1;
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

  #goOn(nowMs: number, arrivedBytes: number): void {
    if (this.#busySince < 0 || nowMs - this.#busySince < PART_MS) return;
    this.#count(nowMs, arrivedBytes);
    this.#busySince = nowMs;
    this.#bytesBefore = arrivedBytes;
  }

  #end(nowMs: number, arrivedBytes: number, exact: boolean): void {
    if (this.#busySince < 0) return;
    const ms = nowMs - this.#busySince;
    if (exact || arrivedBytes - this.#bytesBefore > ms * this.bytesPerMs) this.#count(nowMs, arrivedBytes);
    this.#busySince = -1;
  }

  #count(nowMs: number, arrivedBytes: number): void {
    const ms = nowMs - this.#busySince;
    const keep = Math.max(0, 1 - ms / MEMORY_MS);
    this.#bytes = this.#bytes * keep + (arrivedBytes - this.#bytesBefore);
    this.#ms = this.#ms * keep + ms;
  }
}
