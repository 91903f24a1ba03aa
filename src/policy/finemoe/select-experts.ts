/**
 * Which experts of a forecast row are worth reading ahead: the rules by which the match's similarity becomes a number of
 * experts. The paper's threshold falls as similarity rises, so that a good match reads K experts and a bad one all of
 * them; published code does that, and other things, and each of them has a name here. No probability of use: that is
 * calibration, and not of the paper.
 */

/**
 * With δ = clip(1 - score, 0, 1), experts taken in descending order of probability (ties: the lower index), and never
 * fewer than K unless said:
 * - `paper`: until their sum reaches δ.
 * - `coverage`: until their sum reaches the score itself: more when the match is better, as one published version has it.
 * - `fixed-k`: K, whatever the score.
 * - `budget`: as many as the link can bring before their layer runs, 1 at least.
 * - `one-short`: those at which the sum is still at most δ, one fewer than the paper's; an early published version.
 * - `inverted`: those at which the sum is δ or more, and the first K: another published version, which keeps the tail.
 */
export const SELECTION_THRESHOLDS = ["paper", "coverage", "fixed-k", "budget", "one-short", "inverted"] as const;
export type SelectionThreshold = (typeof SELECTION_THRESHOLDS)[number];

export class ExpertSelection {
  /** The experts that `select` chose, best first; valid up to what it returned. */
  readonly experts: Int32Array;
  readonly #expertsUsed: number;
  readonly #rule: SelectionThreshold;
  /** Per expert: 1 when it stands in `experts` or was passed over. */
  readonly #taken: Uint8Array;

  constructor(experts: number, expertsUsed: number, rule: SelectionThreshold) {
    this.experts = new Int32Array(experts);
    this.#expertsUsed = expertsUsed;
    this.#rule = rule;
    this.#taken = new Uint8Array(experts);
  }

  /**
   * Returns how many of `experts` are chosen, 1..J.
   * @param row `[experts]`, not negative, summing to about 1 (zeros where a trace has only the chosen experts' weights)
   * @param score similarity of the match, -1..1
   * @param affordable experts that the link can bring before their layer runs; `budget` alone looks at it
   */
  select(row: Float32Array, score: number, affordable: number): number {
    const all = row.length;
    const rule = this.#rule;
    const least = rule === "budget" ? 1 : Math.min(this.#expertsUsed, all);
    const delta = Math.min(Math.max(rule === "coverage" ? score : 1 - score, 0), 1);
    this.#taken.fill(0);
    let count = 0;
    let sum = 0;
    for (let rank = 1; rank <= all; rank++) {
      const expert = this.#likeliest(row);
      const before = sum;
      sum += row[expert];
      this.#taken[expert] = 1;
      if (rule === "inverted") {
        if (sum >= delta || rank <= least) this.experts[count++] = expert;
        continue;
      }
      if (rank > least && this.#enough(rank, before, sum, delta, affordable)) break;
      this.experts[count++] = expert;
    }
    return count;
  }

  /** Whether the expert of this rank, beyond the fewest that are taken, is one too many. */
  #enough(rank: number, before: number, sum: number, delta: number, affordable: number): boolean {
    switch (this.#rule) {
      case "fixed-k":
        return true;
      case "budget":
        return rank > affordable;
      case "one-short":
        return sum > delta;
      default:
        return before >= delta;
    }
  }

  #likeliest(row: Float32Array): number {
    let best = -1;
    for (let expert = 0; expert < row.length; expert++)
      if (this.#taken[expert] === 0 && (best < 0 || row[expert] > row[best])) best = expert;
    return best;
  }
}
