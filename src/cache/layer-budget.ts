/**
 * What one layer can need at once. All experts that a micro-batch uses in a layer must be in memory together, because
 * the layer's matrix products run as one; a budget smaller than that asks for a smaller micro-batch.
 */
import type { PolicyNeeds } from "./policy.ts";
import type { ModelShape } from "./shape.ts";

/** What of a policy's needs decides how much of a layer is brought in. Default: what its tokens chose. */
export type LayerDemand = Partial<Pick<PolicyNeeds, "wholeLayers">>;

/** The experts that one layer of one micro-batch needs together are larger than the whole expert budget. */
export class LayerExceedsBudgetError extends Error {
  override readonly name = "LayerExceedsBudgetError";
  readonly layer: number;
  readonly neededBytes: number;
  readonly availableBytes: number;

  constructor(layer: number, neededBytes: number, availableBytes: number) {
    super(
      `MoE layer ${layer} needs ${neededBytes} bytes of experts at once, but the expert budget is ${availableBytes} bytes. ` +
        "Give the experts more memory, or use a smaller micro-batch; a policy that brings in whole layers needs one whole layer.",
    );
    this.layer = layer;
    this.neededBytes = neededBytes;
    this.availableBytes = availableBytes;
  }
}

/** Smallest expert budget in bytes that always works for this micro-batch: its worst case in the largest layer. */
export function smallestBudgetBytes(
  shape: ModelShape,
  microBatchTokens: number,
  { wholeLayers = false }: LayerDemand = {},
): number {
  const experts = wholeLayers ? shape.experts : Math.min(shape.experts, microBatchTokens * shape.expertsUsed);
  return experts * largestExpertBytes(shape);
}

/**
 * Largest micro-batch in tokens whose worst case fits `budgetBytes`: 0 when not even one token does, Infinity when a
 * whole layer fits.
 */
export function largestMicroBatch(
  shape: ModelShape,
  budgetBytes: number,
  { wholeLayers = false }: LayerDemand = {},
): number {
  const experts = Math.floor(budgetBytes / largestExpertBytes(shape));
  if (experts >= shape.experts) return Number.POSITIVE_INFINITY;
  return wholeLayers ? 0 : Math.floor(experts / shape.expertsUsed);
}

function largestExpertBytes(shape: ModelShape): number {
  return shape.expertBytes.reduce((largest, bytes) => Math.max(largest, bytes), 0);
}
