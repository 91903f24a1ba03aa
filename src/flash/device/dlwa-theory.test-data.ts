/** What random page writes cost a drive, by theory: what simulated ones are judged by. */

/**
 * Device-level write amplification of uniform random page writes under FIFO cleaning: 1 / (1 - d) with
 * d = -u W0(-(1/u) exp(-1/u)), W0 the Lambert function and u = logical / physical bytes (arXiv 2503.11665, Theorem 1).
 *
 * @param utilisation above 0, below 1
 */
export function theoreticalDlwa(utilisation: number): number {
  // By W exp(W) = x the theorem says d = exp((d - 1) / u), of which d is the root below 1. The right side rises with d, so that
  // from 0 the iteration climbs to the lower root and stops there.
  let valid = 0;
  for (;;) {
    const next = Math.exp((valid - 1) / utilisation);
    if (next - valid < 1e-12) return 1 / (1 - next);
    valid = next;
  }
}
