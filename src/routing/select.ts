/**
 * The choice of one token's experts when some are in memory and others would have to be read: pure arithmetic on the
 * router's scores. It knows no model, measures nothing and changes no mixture weight; who is resident is the caller's.
 */
import type { SelectionRule } from "./cache-bias.ts";

/** One token at one router. Arrays are only read. */
export interface TokenScores {
  /** What the router's top-k compared; -Infinity for experts of groups that are left out. `[experts]` */
  readonly scores: Float64Array;
  /** The router's distribution, sums to 1; only cumulative-mass looks at it. `[experts]` */
  readonly probabilities: Float32Array;
  /** 1 for an expert that need not be read. `[experts]` */
  readonly resident: Uint8Array;
  /** The router's own choice, best first. `[K]` */
  readonly stock: Int32Array;
  /** J, 0 to K. */
  readonly alwaysKeep: number;
  /** Mean over tokens of largest minus smallest score; the rule prior's scale. */
  readonly meanRange: number;
}

/** Holds the working arrays of a selection, so that none is allocated inside a graph's evaluation. */
export class ExpertSelector {
  readonly #keys: Float64Array;
  readonly #taken: Uint8Array;
  readonly #ofStock: Uint8Array;
  readonly #window: Int32Array;

  constructor(experts: number) {
    this.#keys = new Float64Array(experts);
    this.#taken = new Uint8Array(experts);
    this.#ofStock = new Uint8Array(experts);
    this.#window = new Int32Array(experts);
  }

  /**
   * Fills `pick` (`[K]`) with different experts, the best by their own scores first, and returns how many of them the
   * router had not chosen. Among equal scores the router's own come first, so that nothing is swapped for nothing.
   */
  select(rule: SelectionRule, token: TokenScores, pick: Int32Array): number {
    const { stock } = token;
    this.#taken.fill(0);
    this.#ofStock.fill(0);
    for (let rank = 0; rank < stock.length; rank++) this.#ofStock[stock[rank]] = 1;
    switch (rule.kind) {
      case "prior":
        this.#byRaisedScores(rule.lambda * token.meanRange, token, pick);
        break;
      case "max-rank":
        this.#residentFirst(this.#rankWindow(token, rule.ranks, 0), token, pick);
        break;
      case "cumulative-mass":
        this.#residentFirst(this.#rankWindow(token, 0, rule.mass), token, pick);
        break;
      default:
        rule satisfies never;
    }
    this.#sort(pick, token.scores);
    let swaps = 0;
    for (let rank = 0; rank < pick.length; rank++) swaps += 1 - this.#ofStock[pick[rank]];
    return swaps;
  }

  #byRaisedScores(bonus: number, { scores, resident, stock, alwaysKeep }: TokenScores, pick: Int32Array): void {
    const keys = this.#keys;
    for (let e = 0; e < scores.length; e++) keys[e] = scores[e] + bonus * resident[e];
    for (let rank = 0; rank < alwaysKeep; rank++) keys[stock[rank]] = scores[stock[rank]] + bonus;
    for (let rank = 0; rank < pick.length; rank++) pick[rank] = this.#takeBest(keys);
  }

  /** Ranks at least K experts, and on until there are `ranks` of them and their probabilities sum to `mass`. */
  #rankWindow({ scores, probabilities, stock }: TokenScores, ranks: number, mass: number): number {
    const window = this.#window;
    let count = 0;
    for (let sum = 0; count < stock.length || count < ranks || sum < mass; count++) {
      const expert = this.#takeBest(scores);
      if (expert < 0) break;
      window[count] = expert;
      sum += probabilities[expert];
    }
    return count;
  }

  #residentFirst(count: number, { resident, stock, alwaysKeep }: TokenScores, pick: Int32Array): void {
    const window = this.#window;
    let picked = 0;
    for (; picked < alwaysKeep; picked++) pick[picked] = stock[picked];
    for (let wanted = 1; wanted >= 0; wanted--)
      for (let i = 0; i < count && picked < pick.length; i++) {
        const expert = window[i];
        const rank = stock.indexOf(expert);
        const kept = rank >= 0 && rank < alwaysKeep;
        if (resident[expert] === wanted && !kept) pick[picked++] = expert;
      }
  }

  /** The best of what is not taken yet; -1 when nothing that may be chosen is left. */
  #takeBest(keys: Float64Array): number {
    const taken = this.#taken;
    const ofStock = this.#ofStock;
    let best = -1;
    let most = Number.NEGATIVE_INFINITY;
    for (let e = 0; e < keys.length; e++) {
      if (taken[e] === 1) continue;
      const key = keys[e];
      if (key > most || (key === most && best >= 0 && ofStock[e] > ofStock[best])) {
        best = e;
        most = key;
      }
    }
    if (best >= 0) taken[best] = 1;
    return best;
  }

  #sort(pick: Int32Array, scores: Float64Array): void {
    for (let i = 1; i < pick.length; i++) {
      const expert = pick[i];
      let at = i;
      for (; at > 0 && scores[expert] > scores[pick[at - 1]]; at--) pick[at] = pick[at - 1];
      pick[at] = expert;
    }
  }
}
