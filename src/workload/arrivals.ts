/** When requests arrive at an online service: drawn at a rate, or as a trace says (`azure-arrivals.ts`). */
import { WorkloadError } from "./errors.ts";
import { hashShare } from "./hash-share.ts";
import type { Prompt } from "./prompt.ts";

export interface Arrival {
  /** From the first request on. */
  readonly arrivalMs: number;
  /** Lengths of the request, where a trace has them. */
  readonly promptTokens?: number;
  readonly outputTokens?: number;
}

/** FineMoE's online runs (section 6.2). */
export const ONLINE_SERVING = { requests: 256, perSecond: 2.91 } as const;

export interface PoissonOptions {
  readonly requests: number;
  /** Mean rate. */
  readonly perSecond: number;
  /** @default 0 */
  readonly seed?: number;
}

/** Arrivals that know nothing of each other: the gaps are exponential. The first request comes at 0. */
export function poissonArrivals({ requests, perSecond, seed = 0 }: PoissonOptions): Arrival[] {
  checkRate(perSecond);
  let arrivalMs = 0;
  return Array.from({ length: requests }, (_, i) => {
    if (i > 0) arrivalMs -= (1000 * Math.log(1 - hashShare(`arrival ${seed} ${i}`))) / perSecond;
    return { arrivalMs };
  });
}

/** @throws WorkloadError `option` */
export function checkRate(perSecond: number): void {
  if (!(perSecond > 0 && Number.isFinite(perSecond)))
    throw new WorkloadError("option", {}, `The rate must be more than 0 requests a second, not ${perSecond}.`);
}

export interface WithArrivalsOptions {
  /** Answers as long as the arrivals say, instead of the prompts. @default false */
  readonly lengths?: boolean;
}

/**
 * The prompts as requests that arrive, in their order.
 * @throws WorkloadError `too-few` when there are fewer arrivals than prompts
 */
export function withArrivals(
  prompts: readonly Prompt[],
  arrivals: readonly Arrival[],
  { lengths = false }: WithArrivalsOptions = {},
): Prompt[] {
  if (arrivals.length < prompts.length)
    throw new WorkloadError("too-few", {}, `${prompts.length} prompts need as many arrivals, not ${arrivals.length}.`);
  return prompts.map((prompt, i) => {
    const { arrivalMs, outputTokens } = arrivals[i];
    return {
      ...prompt,
      arrivalMs,
      ...(lengths && outputTokens !== undefined ? { outputTokens: Math.max(1, outputTokens) } : {}),
    };
  });
}
