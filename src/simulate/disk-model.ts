/**
 * A drive as the simulator knows it: requests are served in the order in which they were handed over, the faster the
 * more of them are in flight. What is in flight then drains along one curve that is known beforehand, so neither time
 * nor requests have to be stepped through. Nothing here knows of experts.
 */

/** What a drive gives with so many requests in flight. */
export interface DiskSpeed {
  readonly requests: number;
  readonly bytesPerSecond: number;
}

export interface DiskModel {
  /** Ascending in `requests`, the first with 1. Between two of them speed is interpolated, beyond the last it stays. */
  readonly speeds: readonly DiskSpeed[];
  /** Size of a request, and of those that `speeds` was measured with. The engine's is 1 MiB. */
  readonly requestBytes: number;
  /** Part of a lone request's time that does not depend on its size: what a small one costs. */
  readonly latencyMs: number;
  /** More than these are not in flight at the same time; the others wait in line. */
  readonly requestsInFlight: number;
}

export const REQUEST_BYTES = 2 ** 20;
/** Depth of the engine's queue (`createAio`). */
export const REQUESTS_IN_FLIGHT = 256;
/** Of a middling NVMe drive through a file system. */
export const DEFAULT_LATENCY_MS = 0.1;

export interface PlainDisk {
  /** With enough requests in flight. May be Infinity. */
  readonly bytesPerSecond: number;
  /** @default 0.1 */
  readonly latencyMs?: number;
  /** @default 256, as the engine */
  readonly requestsInFlight?: number;
}

/** A drive of which only its best speed and a latency are known: requests overlap until the speed is reached. */
export function plainDisk(disk: PlainDisk): DiskModel {
  const { bytesPerSecond, latencyMs = DEFAULT_LATENCY_MS, requestsInFlight = REQUESTS_IN_FLIGHT } = disk;
  if (!(bytesPerSecond > 0)) throw new RangeError(`A drive of ${bytesPerSecond} bytes per second reads nothing`);
  if (!(latencyMs >= 0)) throw new RangeError(`A latency of ${latencyMs} ms is none`);
  const loneSeconds = latencyMs / 1000 + REQUEST_BYTES / bytesPerSecond;
  const speeds: DiskSpeed[] = [];
  for (let requests = 1; requests <= requestsInFlight; requests++) {
    const overlapped = loneSeconds === 0 ? bytesPerSecond : (requests * REQUEST_BYTES) / loneSeconds;
    speeds.push({ requests, bytesPerSecond: Math.min(bytesPerSecond, overlapped) });
    if (overlapped >= bytesPerSecond) break;
  }
  return { speeds, requestBytes: REQUEST_BYTES, latencyMs, requestsInFlight };
}

/** Best speed of a drive, as if there were always enough requests. */
export function bestBytesPerSecond({ speeds, requestsInFlight }: DiskModel): number {
  return Math.max(...speeds.filter(({ requests }) => requests <= requestsInFlight).map((s) => s.bytesPerSecond));
}

/**
 * How long it takes until `level` full requests have become none. Levels may be fractions: a request half served, or one
 * of less than full size.
 */
export class DrainCurve {
  /** ms until nothing is left, by whole requests in flight. */
  readonly #msAt: Float64Array;
  readonly #last: number;
  readonly #msPerMore: number;
  readonly #requestBytes: number;
  /** Share of a lone full request that is latency. */
  readonly #latencyShare: number;

  constructor(disk: DiskModel) {
    const { speeds, requestBytes, latencyMs, requestsInFlight } = disk;
    if (speeds[0]?.requests !== 1) throw new RangeError("The speeds of a drive start with one request in flight");
    this.#last = Math.max(1, Math.min(requestsInFlight, speeds[speeds.length - 1].requests));
    this.#msAt = new Float64Array(this.#last + 1);
    for (let requests = 1; requests <= this.#last; requests++)
      this.#msAt[requests] = this.#msAt[requests - 1] + (1000 * requestBytes) / speedAt(speeds, requests);
    this.#msPerMore = this.#msAt[this.#last] - this.#msAt[this.#last - 1];
    this.#requestBytes = requestBytes;
    // A latency longer than a whole request was measured on other requests than the speeds.
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

  /** The level that takes `ms` to drain; 0 for 0 and less. The inverse of `ms`. */
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

function speedAt(speeds: readonly DiskSpeed[], requests: number): number {
  const above = speeds.findIndex((speed) => speed.requests >= requests);
  if (above < 0) return speeds[speeds.length - 1].bytesPerSecond;
  const high = speeds[above];
  if (above === 0 || high.requests === requests) return high.bytesPerSecond;
  const low = speeds[above - 1];
  const share = (requests - low.requests) / (high.requests - low.requests);
  return low.bytesPerSecond + share * (high.bytesPerSecond - low.bytesPerSecond);
}
