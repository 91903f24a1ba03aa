/**
 * A drive as the simulator knows it: requests stand in one line and are served in the order in which they were handed
 * over, along one curve that says how long so many of them take. So neither time nor requests have to be stepped through.
 * Nothing here knows of experts.
 */

/** So many full requests, handed over together to an idle drive, have all landed after this time. */
export interface DiskBurst {
  readonly requests: number;
  readonly ms: number;
}

export interface DiskModel {
  /** Ascending in both, the first with 1. Between two of them time is interpolated, beyond the last it goes on as there. */
  readonly bursts: readonly DiskBurst[];
  /** Size of a full request. The engine's is 1 MiB. */
  readonly requestBytes: number;
  /** Part of a lone request's time that does not depend on its size: what a small one costs. */
  readonly latencyMs: number;
  /**
   * The drive tells of finished requests only when so many are finished, or none is left. 1 for drives as they are built;
   * some virtual ones (Firecracker's, for one) finish all that is in their queue before they raise an interrupt.
   */
  readonly reportsEvery: number;
}

export const REQUEST_BYTES = 2 ** 20;
/** Depth of the engine's queue (`createAio`). */
const REQUESTS_IN_FLIGHT = 256;
/** Of a middling NVMe drive through a file system. */
const DEFAULT_LATENCY_MS = 0.1;

export interface PlainDisk {
  /** With enough requests in flight. May be Infinity. */
  readonly bytesPerSecond: number;
  /** @default 0.1 */
  readonly latencyMs?: number;
  /** More are not in flight at the same time; with few and a long latency the drive stays below its speed. @default 256 */
  readonly requestsInFlight?: number;
}

/** A drive of which only its best speed and a latency are known: latencies of requests in flight overlap. */
export function plainDisk(disk: PlainDisk): DiskModel {
  const { bytesPerSecond, latencyMs = DEFAULT_LATENCY_MS, requestsInFlight = REQUESTS_IN_FLIGHT } = disk;
  if (!(bytesPerSecond > 0)) throw new RangeError(`A drive of ${bytesPerSecond} bytes per second reads nothing`);
  if (!(latencyMs >= 0)) throw new RangeError(`A latency of ${latencyMs} ms is none`);
  if (!(requestsInFlight >= 1)) throw new RangeError(`With ${requestsInFlight} requests in flight nothing is read`);
  const transferMs = (1000 * REQUEST_BYTES) / bytesPerSecond;
  const loneMs = latencyMs + transferMs;
  const nextMs = Math.max(transferMs, loneMs / requestsInFlight);
  return {
    bursts: [
      { requests: 1, ms: loneMs },
      { requests: 2, ms: loneMs + nextMs },
    ],
    requestBytes: REQUEST_BYTES,
    latencyMs,
    reportsEvery: 1,
  };
}

/** Speed of a drive that always has enough to do. */
export function bestBytesPerSecond({ bursts, requestBytes }: DiskModel): number {
  const last = bursts[bursts.length - 1];
  const before = bursts[bursts.length - 2];
  const ms = before === undefined ? last.ms : (last.ms - before.ms) / (last.requests - before.requests);
  return Math.round((1000 * requestBytes) / ms);
}

/**
 * How long it takes until `level` full requests have become none. Levels may be fractions: a request half served, or one
 * of less than full size.
 */
export class DrainCurve {
  /** ms until nothing is left, by whole requests. */
  readonly #msAt: Float64Array;
  readonly #last: number;
  readonly #msPerMore: number;
  readonly #requestBytes: number;
  /** Share of a lone full request that is latency. */
  readonly #latencyShare: number;

  constructor({ bursts, requestBytes, latencyMs }: DiskModel) {
    if (bursts[0]?.requests !== 1) throw new RangeError("The bursts of a drive begin with one request");
    for (let i = 1; i < bursts.length; i++)
      if (!(bursts[i].requests > bursts[i - 1].requests && bursts[i].ms >= bursts[i - 1].ms))
        throw new RangeError("The bursts of a drive ascend, in requests and in time");
    this.#last = bursts[bursts.length - 1].requests;
    this.#msAt = new Float64Array(this.#last + 1);
    for (let i = 0, from = { requests: 0, ms: 0 }; i < bursts.length; from = bursts[i++])
      for (let requests = from.requests + 1; requests <= bursts[i].requests; requests++) {
        const share = (requests - from.requests) / (bursts[i].requests - from.requests);
        this.#msAt[requests] = from.ms + share * (bursts[i].ms - from.ms);
      }
    this.#msPerMore = this.#msAt[this.#last] - this.#msAt[this.#last - 1];
    this.#requestBytes = requestBytes;
    // A latency longer than a whole request was measured on other requests than the bursts.
    this.#latencyShare = this.#msAt[1] > 0 ? Math.min(0.9, latencyMs / this.#msAt[1]) : 0;
  }

  /** What requests that together hold `bytes`, all but the last of full size, count as. */
  levelOf(bytes: number): number {
    const full = Math.floor(bytes / this.#requestBytes);
    const rest = bytes / this.#requestBytes - full;
    return full + (rest > 0 ? this.#latencyShare + (1 - this.#latencyShare) * rest : 0);
  }

  ms(level: number): number {
    if (level >= this.#last) return this.#msAt[this.#last] + (level - this.#last) * this.#msPerMore;
    const whole = Math.floor(level);
    const below = this.#msAt[whole];
    return below + (level - whole) * (this.#msAt[whole + 1] - below);
  }

  /** The level that takes `ms` to drain; 0 for 0 and less. The inverse of `ms` where that grows. */
  level(ms: number): number {
    if (ms <= 0) return 0;
    const all = this.#msAt[this.#last];
    if (ms >= all) return this.#msPerMore > 0 ? this.#last + (ms - all) / this.#msPerMore : this.#last;
    let low = 0;
    let high = this.#last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#msAt[middle] <= ms) low = middle;
      else high = middle;
    }
    return low + (ms - this.#msAt[low]) / (this.#msAt[high] - this.#msAt[low]);
  }
}
