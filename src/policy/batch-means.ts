/**
 * A micro-batch as one decision: what its tokens chose and what routers thought of each expert, as means over the tokens, so
 * that a prompt counts as shares and not as hundreds of uses. What the means are good for is the policies' business.
 */
import type { RouterEvent } from "../cache/policy.ts";

/** Fills `use` `[experts]` with the share of tokens that chose each expert. */
export function averageUse({ tokens, expertsUsed, experts: chosen }: RouterEvent, use: Float64Array): void {
  const share = 1 / tokens;
  use.fill(0);
  for (let i = 0; i < tokens * expertsUsed; i++) {
    const expert = chosen[i] as number;
    use[expert] = (use[expert] as number) + share;
  }
}

/** Fills `preference` `[experts]` with the router's mean probability or, where that is not known, the mean weight of the chosen. */
export function averagePreference(event: RouterEvent, preference: Float64Array): void {
  const { tokens, expertsUsed, experts: chosen, weights, probabilities } = event;
  const experts = preference.length;
  const share = 1 / tokens;
  preference.fill(0);
  if (probabilities === undefined) {
    for (let i = 0; i < tokens * expertsUsed; i++) {
      const expert = chosen[i] as number;
      preference[expert] = (preference[expert] as number) + share * (weights[i] as number);
    }
    return;
  }
  for (let token = 0; token < tokens; token++)
    for (let expert = 0; expert < experts; expert++)
      preference[expert] = (preference[expert] as number) + share * (probabilities[token * experts + expert] as number);
}
