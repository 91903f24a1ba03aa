/**
 * What reading experts costs per token, before anything has run: two bounds from the plan and the speed of the drive.
 * Estimates, and named so: what a model's routing really asks for is only known once it runs. Pure.
 */
import type { MemoryPlan } from "../engine/memory-plan.ts";

export interface ReadEstimate {
  /** "compute": nothing has to be read. "reads": experts come from the drive, and may take longer than computing. */
  readonly bottleneck: "compute" | "reads";
  readonly diskBytesPerSecond: number | null;
  readonly diskSource: "given" | "probed" | "unknown";
  /** Every expert of a token has to be read. */
  readonly worstCase: TokenReads;
  /** Experts are hit in proportion to the share of them that is in memory; real routing usually does better. */
  readonly withoutLocality: TokenReads;
}

export interface TokenReads {
  readonly bytesPerToken: number;
  /** Null when the drive's speed is unknown. */
  readonly msPerToken: number | null;
}

export function estimateReads(
  plan: MemoryPlan,
  disk: { readonly bytesPerSecond: number; readonly source: "given" | "probed" } | undefined,
): ReadEstimate {
  const reads = (bytesPerToken: number): TokenReads => ({
    bytesPerToken,
    msPerToken: disk === undefined ? null : (1000 * bytesPerToken) / disk.bytesPerSecond,
  });
  const missing = plan.fits ? 0 : 1 - plan.expertBudgetBytes / plan.expertBytesTotal;
  return {
    bottleneck: plan.fits ? "compute" : "reads",
    diskBytesPerSecond: disk?.bytesPerSecond ?? null,
    diskSource: disk?.source ?? "unknown",
    worstCase: reads(plan.fits ? 0 : plan.tokenCycleBytes),
    withoutLocality: reads(Math.round(missing * plan.tokenCycleBytes)),
  };
}
