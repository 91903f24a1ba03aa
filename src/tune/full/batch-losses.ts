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
  /** How often each expert was chosen, `[layers][experts]`; empty before the first batch. */
  readonly uses: Float64Array[];
}

export function noLosses(): BatchLosses {
  return { targets: 0, crossEntropy: 0, divergence: 0, pairs: 0, reuse: 0, terms: {}, uses: [] };
}

export function addLosses(sum: BatchLosses, more: BatchLosses): void {
  for (const key of ["targets", "crossEntropy", "divergence", "pairs", "reuse"] as const) sum[key] += more[key];
  for (const [name, loss] of Object.entries(more.terms)) sum.terms[name] = (sum.terms[name] ?? 0) + loss;
  addUses(sum.uses, more.uses);
}

/** Adds by layer and expert; `sum` may be empty. */
export function addUses(sum: Float64Array[], more: readonly Float64Array[]): void {
  for (const [layer, uses] of more.entries()) {
    sum[layer] ??= new Float64Array(uses.length);
    for (let expert = 0; expert < uses.length; expert++) sum[layer][expert] += uses[expert];
  }
}

/** Adds how often each expert was chosen, and how many of a token's its predecessor in the sequence had. @param spans rows of each sequence */
export function addRouting(
  losses: BatchLosses,
  spans: readonly Span[],
  routings: readonly Routing[],
  { experts, used }: { readonly experts: number; readonly used: number },
): void {
  addUses(
    losses.uses,
    routings.map(({ ids }) => {
      const uses = new Float64Array(experts);
      for (const expert of ids) uses[expert]++;
      return uses;
    }),
  );
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
