/**
 * What one layer can need at once. All experts that a micro-batch uses in a layer must be in memory together, because
 * the layer's matrix products run as one; a budget smaller than that asks for a smaller micro-batch.
 */
import type { ModelShape } from "./shape.ts";

/** The experts that one layer of one micro-batch needs together are larger than the whole expert budget. */
export class LayerExceedsBudgetError extends Error {
  override readonly name = "LayerExceedsBudgetError";
  readonly layer: number;
  readonly neededBytes: number;
  readonly availableBytes: number;

  constructor(layer: number, neededBytes: number, availableBytes: number) {
    super(
      `MoE layer ${layer} needs ${neededBytes} bytes of experts at once, but the expert budget is ${availableBytes} bytes. ` +
        "Use a smaller micro-batch or give the experts more memory.",
    );
    this.layer = layer;
    this.neededBytes = neededBytes;
    this.availableBytes = availableBytes;
  }
}

/** Smallest expert budget in bytes that always works for this micro-batch: its worst case in the largest layer. */
export function smallestBudgetBytes(shape: ModelShape, microBatchTokens: number): number {
  const experts = Math.min(shape.experts, microBatchTokens * shape.expertsUsed);
  return experts * largestExpertBytes(shape);
}

/**
 * Largest micro-batch in tokens whose worst case fits `budgetBytes`: 0 when not even one token does, Infinity when a
 * whole layer fits.
 */
export function largestMicroBatch(shape: ModelShape, budgetBytes: number): number {
  const experts = Math.floor(budgetBytes / largestExpertBytes(shape));
  return experts >= shape.experts ? Number.POSITIVE_INFINITY : Math.floor(experts / shape.expertsUsed);
}

function largestExpertBytes(shape: ModelShape): number {
  return shape.expertBytes.reduce((largest, bytes) => Math.max(largest, bytes), 0);
}
