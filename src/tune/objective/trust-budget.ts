/**
 * The weight of the trust term, adapted while one layer is tuned so that its gate strays from the frozen one about as far as it
 * may. End to end the budget is held in another way, see `full/budget-track.ts`.
 */

/**
 * The weight for the next steps: `factor` times as much when the KL is more than `factor` times the budget, and as much less
 * when it is less than the budget / `factor`.
 * @param meanTrustKl mean over the last steps, nats per token
 * @param budget delta, nats per token
 * @param factor of one adaption, and how far from the budget is left alone
 */
export function adaptTrustWeight(weight: number, meanTrustKl: number, budget: number, factor: number): number {
  if (meanTrustKl > factor * budget) return weight * factor;
  if (meanTrustKl < budget / factor) return weight / factor;
  return weight;
}
