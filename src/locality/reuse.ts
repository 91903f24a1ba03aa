/** How soon experts are used again: overlap of neighbouring tokens (EOR) and the distances between uses. */
import { meanOfKnown } from "./correlation.ts";
import type { ReuseReport } from "./report-data.ts";

export interface ReuseCounts {
  /** By domain, each [layer]. */
  readonly domains: readonly { readonly overlap: Float64Array; readonly overlapUses: Float64Array }[];
  /** [L][sampleLength] Uses by distance in tokens; index 0: first uses. */
  readonly distances: Float64Array;
  readonly layers: number;
}

export function reuseReport({ domains, distances, layers }: ReuseCounts): ReuseReport {
  const length = distances.length / layers;
  const byLayer = Array.from({ length: layers }, (_, layer) =>
    Array.from(distances.subarray(layer * length, (layer + 1) * length)),
  );
  const all = Array.from({ length }, (_, distance) => byLayer.reduce((sum, row) => sum + row[distance], 0));
  const layerOverlap = byLayer.map((_, layer) => {
    const uses = domains.reduce((sum, { overlapUses }) => sum + overlapUses[layer], 0);
    return uses === 0 ? null : domains.reduce((sum, { overlap }) => sum + overlap[layer], 0) / uses;
  });
  return {
    overlap: meanOfKnown(layerOverlap),
    layerOverlap,
    domainOverlap: domains.map(({ overlap, overlapUses }) =>
      meanOfKnown(byLayer.map((_, layer) => (overlapUses[layer] === 0 ? null : overlap[layer] / overlapUses[layer]))),
    ),
    distances: all.slice(1),
    firstUses: all[0],
    medianDistance: medianDistance(all),
    layerMedianDistance: byLayer.map(medianDistance),
  };
}

function medianDistance(counts: readonly number[]): number | null {
  const total = counts.reduce((sum, count, distance) => (distance === 0 ? sum : sum + count), 0);
  if (total === 0) return null;
  let below = 0;
  for (let distance = 1; ; distance++) {
    below += counts[distance];
    if (2 * below >= total) return distance;
  }
}
