/**
 * How far routing was moved away from the model's own: counts of swaps, and the route KL. It is measured at the router,
 * where it costs nothing; what it does to the logits is measured by `measure-drift.ts`.
 */

/** Tokens whose route KL is remembered for the 99th percentile. */
const REMEMBERED_TOKENS = 4096;

/** Since the model was opened, over decoded tokens. A decision is one token at one layer. */
export interface RouteDriftStatistics {
  readonly tokens: number;
  readonly decisions: number;
  /** Chosen experts: decisions x K. */
  readonly slots: number;
  /** Slots with an expert that the router had not chosen. */
  readonly swaps: number;
  /** Swaps that the bound on route KL did not allow. */
  readonly swapsRefused: number;
  /** swaps / slots, 0..1. */
  readonly swapRate: number;
  /** Share of decisions that are exactly the router's own, 0..1; 1 without decisions. */
  readonly agreement: number;
  /** Nats per decision, mean over all. */
  readonly routeKlMean: number;
  /** 99th percentile over the last 4096 tokens of a token's mean over its layers. */
  readonly routeKlP99: number;
}

/**
 * Route KL of one decision, in nats: how much farther the distribution that the router is cut down to lies from the
 * router's whole distribution P than with the model's own choice. KL(P cut to S and normalised || P) is -ln P(S), so the
 * difference is ln P(stock) - ln P(pick). 0 for the same experts, and where a selection bias makes the pick the likelier.
 */
export function routeKl(probabilities: Float32Array, stock: Int32Array, pick: Int32Array): number {
  let own = 0;
  let picked = 0;
  for (let rank = 0; rank < stock.length; rank++) {
    own += probabilities[stock[rank]];
    picked += probabilities[pick[rank]];
  }
  return Math.max(0, Math.log(Math.max(own, SMALLEST)) - Math.log(Math.max(picked, SMALLEST)));
}

/** Below this float32 probabilities are zeros. */
const SMALLEST = 1e-38;

export class RouteDrift {
  readonly #recent = new Float64Array(REMEMBERED_TOKENS);
  /** Of the running pass, per token: sum and number of decisions. */
  readonly #sums: Float64Array;
  readonly #decisionsOf: Int32Array;
  #tokens = 0;
  #decisions = 0;
  #slots = 0;
  #swaps = 0;
  #refused = 0;
  #unchanged = 0;
  #sum = 0;

  constructor(tokensPerPass: number) {
    this.#sums = new Float64Array(tokensPerPass);
    this.#decisionsOf = new Int32Array(tokensPerPass);
  }

  /** @param kl of what was chosen in the end */
  decided(token: number, slots: number, swaps: number, refused: number, kl: number): void {
    this.#decisions++;
    this.#slots += slots;
    this.#swaps += swaps;
    this.#refused += refused;
    if (swaps === 0) this.#unchanged++;
    this.#sum += kl;
    this.#sums[token] += kl;
    this.#decisionsOf[token]++;
  }

  /** The pass is over; its tokens count. */
  finish(): void {
    for (let token = 0; token < this.#sums.length && this.#decisionsOf[token] > 0; token++) {
      this.#recent[this.#tokens++ % REMEMBERED_TOKENS] = this.#sums[token] / this.#decisionsOf[token];
      this.#sums[token] = 0;
      this.#decisionsOf[token] = 0;
    }
  }

  statistics(): RouteDriftStatistics {
    const recent = this.#recent.slice(0, Math.min(this.#tokens, REMEMBERED_TOKENS)).sort();
    return {
      tokens: this.#tokens,
      decisions: this.#decisions,
      slots: this.#slots,
      swaps: this.#swaps,
      swapsRefused: this.#refused,
      swapRate: this.#slots === 0 ? 0 : this.#swaps / this.#slots,
      agreement: this.#decisions === 0 ? 1 : this.#unchanged / this.#decisions,
      routeKlMean: this.#decisions === 0 ? 0 : this.#sum / this.#decisions,
      routeKlP99: recent.length === 0 ? 0 : recent[Math.floor(0.99 * (recent.length - 1))],
    };
  }
}
