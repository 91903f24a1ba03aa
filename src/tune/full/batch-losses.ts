/** What a batch came to, as sums that those of other batches and threads can be added to; means are made of them by `train-full.ts`. */
import type { Span } from "./attention.ts";
import type { Routing } from "./router.ts";

export interface BatchLosses {
  /** Tokens that have a next one: what the two sums are over. */
  targets: number;
  /** Sum of cross-entropies with the next token, nats. */
  crossEntropy: number;
  /** Sum of KL(original model || this), nats; 0 unless it was asked for. */
  divergence: number;
  /** Pairs of neighbouring tokens x layers, and how many of their experts are the same, as a share, summed up. */
  pairs: number;
  reuse: number;
  /** Routers' own losses: sums over layers of sums over sequences of loss x tokens. */
  readonly terms: Record<string, number>;
}

export function noLosses(): BatchLosses {
  return { targets: 0, crossEntropy: 0, divergence: 0, pairs: 0, reuse: 0, terms: {} };
}

export function addLosses(sum: BatchLosses, more: BatchLosses): void {
  for (const key of ["targets", "crossEntropy", "divergence", "pairs", "reuse"] as const) sum[key] += more[key];
  for (const [name, loss] of Object.entries(more.terms)) sum.terms[name] = (sum.terms[name] ?? 0) + loss;
}

/** Adds how many of a token's experts its predecessor in the sequence had. @param spans rows of each sequence */
export function addReuse(
  losses: BatchLosses,
  spans: readonly Span[],
  routings: readonly Routing[],
  used: number,
): void {
  for (const { ids } of routings)
    for (const { from, tokens } of spans)
      for (let t = from + 1; t < from + tokens; t++) {
        let same = 0;
        for (let k = 0; k < used; k++)
          for (let j = 0; j < used; j++) if (ids[t * used + k] === ids[(t - 1) * used + j]) same++;
        losses.reuse += same / used;
        losses.pairs++;
      }
}
