/**
 * Pure arithmetic of a memory budget: what the process, the dense weights, the KV cache and the compute buffers take,
 * what is left for experts, and what the smallest budget is. It measures nothing and reserves nothing.
 */
import { type LayerDemand, largestMicroBatch, smallestBudgetBytes } from "../cache/layer-budget.ts";
import { type ModelShape, tokenCycleBytes } from "../cache/shape.ts";

export interface PlanInput {
  readonly shape: ModelShape;
  /** What the policy brings in of a layer. @default what its tokens chose */
  readonly demand?: LayerDemand;
  /** Weights that every token needs, in whole pages. */
  readonly denseBytes: number;
  /** Pages shared by neighbouring experts: they stay once they were used. */
  readonly sharedEdgeBytes: number;
  /** What pages that experts fill in part add to their bytes at most, as a share of them. */
  readonly paddingShare: number;
  /** Resident memory of the process (and of its parent, if that exists for this model alone) without any weights. */
  readonly processBytes: number;
  /** KV cache, or the states of recurrent layers. */
  readonly kvBytes: number;
  /** Compute and work buffers. */
  readonly computeBytes: number;
}

export interface MemoryPlan {
  /** Budget of everything, or undefined when only the experts' part was given. */
  readonly budgetBytes: number | undefined;
  readonly processBytes: number;
  readonly denseBytes: number;
  readonly kvBytes: number;
  readonly computeBytes: number;
  /** Pages that neighbouring experts share, or that experts fill only in part. */
  readonly sharedEdgeBytes: number;
  /** For growth of the JavaScript heap and native allocations under way. */
  readonly marginBytes: number;
  /** What the experts may use. */
  readonly expertBudgetBytes: number;
  readonly expertBytesTotal: number;
  readonly tokenCycleBytes: number;
  /** Smallest budget of everything that works, one token at a time. */
  readonly smallestBudgetBytes: number;
  /** All experts fit: the model runs resident. */
  readonly fits: boolean;
  /** Largest micro-batch whose experts of one layer always fit. */
  readonly largestMicroBatch: number;
}

/**
 * The JavaScript heap breathes by this much between collections (1,000 generations: under 20 MiB), and glibc keeps
 * some of what llama.cpp frees.
 */
export const MARGIN_BYTES = 24 * 2 ** 20;

export function planMemory(input: PlanInput, budgetBytes: number): MemoryPlan {
  const leftBytes = budgetBytes - fixedBytes(input);
  const streamedBytes = Math.floor((leftBytes - input.sharedEdgeBytes) / (1 + input.paddingShare));
  return finish(input, budgetBytes, leftBytes, Math.max(0, streamedBytes));
}

/** The plan when the experts' part alone is given, whatever the rest takes. */
export function planExpertMemory(input: PlanInput, expertBudgetBytes: number): MemoryPlan {
  return finish(input, undefined, expertBudgetBytes, expertBudgetBytes);
}

function fixedBytes(input: PlanInput): number {
  return input.processBytes + input.denseBytes + input.kvBytes + input.computeBytes + MARGIN_BYTES;
}

/** `residentBytes` is there for all experts together, `streamedBytes` for those that are held when not all are. */
function finish(
  input: PlanInput,
  budgetBytes: number | undefined,
  residentBytes: number,
  streamedBytes: number,
): MemoryPlan {
  const { shape, demand, processBytes, denseBytes, kvBytes, computeBytes, paddingShare } = input;
  const expertBytesTotal = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
  const fits = residentBytes >= expertBytesTotal;
  const expertBudgetBytes = fits ? expertBytesTotal : streamedBytes;
  return {
    budgetBytes,
    processBytes,
    denseBytes,
    kvBytes,
    computeBytes,
    sharedEdgeBytes: input.sharedEdgeBytes + Math.ceil(expertBudgetBytes * paddingShare),
    marginBytes: MARGIN_BYTES,
    expertBudgetBytes,
    expertBytesTotal,
    tokenCycleBytes: tokenCycleBytes(shape),
    smallestBudgetBytes:
      fixedBytes(input) + input.sharedEdgeBytes + Math.ceil(smallestBudgetBytes(shape, 1, demand) * (1 + paddingShare)),
    fits,
    largestMicroBatch: fits ? Number.POSITIVE_INFINITY : largestMicroBatch(shape, expertBudgetBytes, demand),
  };
}

/** What a user should know about a plan, one sentence each. */
export function planWarnings(plan: MemoryPlan): string[] {
  const warnings: string[] = [];
  if (!plan.fits && plan.expertBudgetBytes < plan.tokenCycleBytes)
    warnings.push(
      "The experts' budget is below one token cycle: a plain LRU would hit nothing. Keep the default policy, or give more memory.",
    );
  return warnings;
}
