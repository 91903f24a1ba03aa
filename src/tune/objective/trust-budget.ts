/** The weight of the trust term, adapted while training so that the gate strays from the frozen one about as far as it may. */

/**
 * The weight for the next steps: `factor` times as much when the KL is more than `factor` times the budget, and as much less
 * when it is less than the budget / `factor`.
 * @param meanTrustKl mean over the last steps, nats per token
 * @param budget delta, nats per token
 * @param factor of one adaption, and how far from the budget is left alone
 */
export function adaptTrustWeight(weight: number, meanTrustKl: number, budget: number, factor = 1.5): number {
  if (meanTrustKl > factor * budget) return weight * factor;
  if (meanTrustKl < budget / factor) return weight / factor;
  return weight;
}
