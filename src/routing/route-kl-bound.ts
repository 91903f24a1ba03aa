/**
 * Holds the mean route KL under a bound, and finds the lambda that spends it best. A decision earns the bound and a swap
 * costs its route KL, so the mean since the start is never above the bound, whatever lambda is; lambda is steered so that
 * little has to be refused, because refusing by the moment's balance is not choosing the cheapest swaps.
 */

/** Decisions' worth of the bound that can be saved up: quiet text may not pay for a long stretch of wrong experts. */
const SAVED_DECISIONS = 1024;
/** Decisions between two corrections of lambda: some tokens, whatever the number of layers. */
const DECISIONS_PER_STEP = 256;
/** Aim below the bound, so that what is refused stays rare. */
const AIM = 0.9;
const LARGEST_STEP = 1.5;
const SMALLEST_LAMBDA = 1e-3;

export class RouteKlBound {
  readonly bound: number;
  readonly #largestLambda: number;
  #lambda: number;
  #saved = 0;
  #decisions = 0;
  #wanted = 0;

  /** @param bound nats per decision, above 0 */
  constructor(bound: number, firstLambda: number, largestLambda: number) {
    this.bound = bound;
    this.#largestLambda = largestLambda;
    this.#lambda = Math.min(firstLambda, largestLambda);
  }

  get lambda(): number {
    return this.#lambda;
  }

  /** A decision that would cost `kl` nats: may it be made? If not, the router's own is, which costs nothing. */
  admit(kl: number): boolean {
    this.#wanted += kl;
    if (++this.#decisions === DECISIONS_PER_STEP) this.#correct();
    this.#saved = Math.min(this.#saved + this.bound, this.bound * SAVED_DECISIONS);
    if (kl > this.#saved) return false;
    this.#saved -= kl;
    return true;
  }

  /** Route KL grows faster than lambda, so its square root is a step that does not swing. */
  #correct(): void {
    const wanted = this.#wanted / this.#decisions;
    const step = wanted === 0 ? LARGEST_STEP : Math.sqrt((AIM * this.bound) / wanted);
    const bounded = Math.min(LARGEST_STEP, Math.max(1 / LARGEST_STEP, step));
    this.#lambda = Math.min(this.#largestLambda, Math.max(SMALLEST_LAMBDA, this.#lambda * bounded));
    this.#wanted = 0;
    this.#decisions = 0;
  }
}
