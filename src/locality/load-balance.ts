/** How evenly a model uses its experts: activation rates and their spread. */
import { sampleDeviation } from "./correlation.ts";
import type { RoutingShape } from "./expert-sequence.ts";
import type { LoadReport } from "./report-data.ts";

/**
 * Share of tokens that use each expert, [layer][expert].
 * @param uses [L][E]
 */
export function activationRates(
  uses: ArrayLike<number>,
  tokens: number,
  { layers, experts }: RoutingShape,
): number[][] {
  return Array.from({ length: layers }, (_, layer) =>
    Array.from({ length: experts }, (_, expert) => (tokens === 0 ? 0 : uses[layer * experts + expert] / tokens)),
  );
}

export function loadReport(activationRate: readonly (readonly number[])[]): LoadReport {
  return {
    loadBalanceSd: sampleDeviation(activationRate.flat()),
    layerSd: activationRate.map(sampleDeviation),
    activationRate,
    unusedExperts: activationRate.flat().filter((rate) => rate === 0).length,
  };
}
