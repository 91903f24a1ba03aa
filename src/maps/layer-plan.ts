/** Which layers a search plans, from the plan's name and the distance; layers are 0-based and count MoE layers only. */
import type { LayerPlan, SearchParts } from "./async-search.ts";

export interface PlannedLayers {
  readonly first: number;
  /** 0: nothing to plan, so nothing to search. */
  readonly count: number;
}

export interface LayerPlanning {
  readonly layers: number;
  /** d, at least 1. */
  readonly prefetchDistance: number;
  readonly layerPlan: LayerPlan;
  readonly parts: SearchParts;
}

export function semanticTargets({ layers, prefetchDistance, parts }: LayerPlanning): PlannedLayers {
  if (parts === "trajectory") return { first: 0, count: 0 };
  return { first: 0, count: parts === "semantic" ? layers : Math.min(prefetchDistance, layers) };
}

/** For each source layer. */
export function trajectoryTargets(planning: LayerPlanning): readonly PlannedLayers[] {
  const { layers, prefetchDistance: d, layerPlan, parts } = planning;
  return Array.from({ length: layers }, (_, layer) => {
    const first = layerPlan === "window" ? layer + 1 : layer + d;
    const end = layerPlan === "band" ? layers : Math.min(layer + d + 1, layers);
    return { first, count: parts === "semantic" ? 0 : Math.max(0, end - first) };
  });
}
