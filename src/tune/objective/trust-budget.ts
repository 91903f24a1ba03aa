/** The weight of the trust term, adapted while training so that the gate strays from the frozen one about as far as it may. */

/** Factor of one adaption, and how far from the budget is left alone. */
const STEP = 1.5;
/** Steps between two adaptions. */
export const TRUST_INTERVAL_STEPS = 50;

/**
 * The weight for the next steps: half as much again when the KL is more than 1.5 times the budget, two thirds of it when it is
 * less than the budget / 1.5.
 * @param meanTrustKl mean over the last steps, nats per token
 * @param budget delta, nats per token
 */
export function adaptTrustWeight(weight: number, meanTrustKl: number, budget: number): number {
  if (meanTrustKl > STEP * budget) return weight * STEP;
  if (meanTrustKl < budget / STEP) return weight / STEP;
  return weight;
}
