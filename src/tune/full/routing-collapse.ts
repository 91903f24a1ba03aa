/**
 * Whether training has begun to starve experts: uses of every layer's experts over the last steps, against those of the original
 * gates on the same text. The limits are those that the other methods keep.
 */
import { type CollapseFigures, collapseFindings, shippableCv, variationOf } from "../gate-metrics.ts";

/** Of texts of many kinds: what a few documents choose says little of the others. */
const JUDGED_TOKENS = 32_768;
/** An expert's even share at least, of which 1 % is a use. */
const LEAST_EVEN_USES = 100;

/** What one step's tokens chose. */
export interface StepUses {
  readonly tokens: number;
  /** `[layers][experts]` */
  readonly uses: readonly Float64Array[];
}

/** Share of the limit for shipping from which on locality is held back. */
const BRAKE_FROM = 0.7;

export class RoutingCollapse {
  readonly #base: readonly CollapseFigures[];
  readonly #judgedTokens: number;
  #last: StepUses[] = [];

  /** @param base what the original gates choose in steps of the same size, `RoutingCollapse.tokens` or all there are */
  constructor(base: readonly StepUses[]) {
    this.#base = base[0].uses.map((_, layer) => figures(base, layer));
    this.#judgedTokens = Math.min(tokensOf(base), JUDGED_TOKENS);
  }

  /** Tokens to judge the original gates by. */
  static readonly tokens = JUDGED_TOKENS;

  /**
   * By layer, 1 where locality may pull as hard as it wants, down to 0 where the load is as uneven as it may get. Layers with nearly
   * even probabilities, as first layers often have, would otherwise collapse within any budget of divergence.
   * @param popularity by layer, share of recent tokens that chose each expert; all 0 before the first step
   */
  brakes(popularity: readonly Float32Array[]): number[] {
    return this.#base.map((base, layer) => {
      const limit = shippableCv(base);
      const from = Math.max(base.loadCv, BRAKE_FROM * limit);
      const cv = variationOf(popularity[layer]);
      return cv <= from ? 1 : Math.max(0, (limit - cv) / (limit - from));
    });
  }

  /** Counts a step. What looks like a collapse, one sentence; undefined while there is too little to say. */
  add(step: StepUses): string | undefined {
    this.#last.push(step);
    while (tokensOf(this.#last.slice(1)) >= this.#judgedTokens) this.#last.shift();
    const tokens = tokensOf(this.#last);
    const [first] = step.uses;
    const evenUses = ((sumOf(first) / step.tokens) * tokens) / first.length;
    if (tokens < this.#judgedTokens || evenUses < LEAST_EVEN_USES) return undefined;
    for (const [layer, base] of this.#base.entries()) {
      const [finding] = collapseFindings(figures(this.#last, layer), base);
      if (finding !== undefined) return `In MoE layer ${layer}: ${finding}`;
    }
    return undefined;
  }
}

function figures(steps: readonly StepUses[], layer: number): CollapseFigures {
  const total = new Float64Array(steps[0].uses[layer].length);
  let distinct = 0;
  for (const { uses } of steps)
    for (const [expert, count] of uses[layer].entries()) {
      total[expert] += count;
      if (count > 0) distinct++;
    }
  const evenShare = sumOf(total) / total.length;
  return {
    loadCv: variationOf(total),
    leastUse: Math.min(...total) / evenShare,
    distinctExperts: distinct / steps.length,
  };
}

const tokensOf = (steps: readonly StepUses[]): number => steps.reduce((sum, { tokens }) => sum + tokens, 0);

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
