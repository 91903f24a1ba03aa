/**
 * Ranks of Zipf's law over any number of keys, without tables: rejection inversion (Hoermann and Derflinger, "Rejection-inversion
 * to generate variates from monotone discrete distributions", ACM TOMACS 6(3), 1996). The histogram k^-alpha is sampled through
 * the inverse integral of x^-alpha, and a draw that lies between the two is rejected: a few in a hundred.
 */
import type { Randomness } from "../../predict/randomness.ts";
import { FlashError } from "../errors.ts";

/** Ranks are kept in 31 bits, as the permutation of ranks needs them. */
export const MAX_RANKS = 2 ** 31 - 1;
/** Nearer to 1 than this, x^(1 - alpha) / (1 - alpha) loses its digits, and the form for alpha about 1 is used. */
const NEAR_ONE = 1e-3;

/** Chance of rank r, from 0 on, proportional to (r + 1)^-alpha. */
export class Zipf {
  readonly ranks: number;
  readonly alpha: number;
  /** 1 - alpha. */
  readonly #power: number;
  readonly #inversePower: number;
  readonly #isNearOne: boolean;
  /** Integral up to the end of the first rank, where that rank's bar is put in whole; and up to the end of the last. */
  readonly #first: number;
  readonly #last: number;
  /** Draws this near to their rank are never to be rejected. */
  readonly #safe: number;

  /**
   * @param ranks 1 to 2^31 - 1
   * @param alpha more than 0; 1 and more are allowed
   * @throws FlashError `bad-options`
   */
  constructor(ranks: number, alpha: number) {
    if (!Number.isInteger(ranks) || ranks < 1 || ranks > MAX_RANKS)
      throw new FlashError("bad-options", `The number of keys must be 1 to ${MAX_RANKS}, not ${ranks}.`);
    if (!(alpha > 0 && Number.isFinite(alpha)))
      throw new FlashError("bad-options", `The exponent of Zipf's law must be more than 0, not ${alpha}.`);
    this.ranks = ranks;
    this.alpha = alpha;
    this.#power = 1 - alpha;
    this.#inversePower = 1 / this.#power;
    this.#isNearOne = Math.abs(this.#power) < NEAR_ONE;
    this.#first = this.#integral(1.5) - 1;
    this.#last = this.#integral(ranks + 0.5);
    this.#safe = 2 - this.#inverse(this.#integral(2.5) - 2 ** -alpha);
  }

  /** 0 to `ranks` - 1. */
  next(random: Randomness): number {
    for (;;) {
      // Two draws: 32 bits are too coarse for 1e9 ranks.
      const uniform = random.next() + random.next() * 2 ** -32;
      const area = this.#last + uniform * (this.#first - this.#last);
      const x = this.#inverse(area);
      // Rounding may lead out of the range by one.
      const k = Math.max(1, Math.min(this.ranks, Math.floor(x + 0.5)));
      if (k - x <= this.#safe || area >= this.#integral(k + 0.5) - Math.exp(-this.alpha * Math.log(k))) return k - 1;
    }
  }

  /** Of x^-alpha, up to a constant. */
  #integral(x: number): number {
    if (this.#isNearOne) {
      const log = Math.log(x);
      return this.#power === 0 ? log : Math.expm1(this.#power * log) / this.#power;
    }
    return Math.exp(this.#power * Math.log(x)) * this.#inversePower;
  }

  #inverse(area: number): number {
    if (this.#isNearOne)
      return Math.exp(this.#power === 0 ? area : Math.log1p(this.#power * area) * this.#inversePower);
    return Math.exp(Math.log(this.#power * area) * this.#inversePower);
  }
}
